"""Whole runs through a hub on the loopback address: pulled by the real libraries, again without it, pushed to it."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, running_hub
from hub_world import DATA, GLUE, MODEL, SHRUNK, Done, Machine, data_repository, fill
from training_runs import weights

pytestmark = pytest.mark.slow

PYTHON = (sys.executable, "-c")
LOAD = """
import sys
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.tasks.registry import get_task
try:
    for task in sys.argv[1:]:
        rows = load_rows(get_task(task), "train", "hub")
        print(task, rows.table.num_rows, rows.fingerprint, rows.commit)
except InputError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture(scope="module")
def world(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub() as hub:
        yield fill(hub, tokenizer_folder, tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def machine(world: Hub, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine that has trained `glue_hyperpp_small`, shrunk, once; `first` is what that showed."""
    machine = Machine(tmp_path_factory.mktemp("machine"), world, token="hf_of_the_test")
    machine.first = machine.run("train", "glue_hyperpp_small", *SHRUNK)
    return machine


def results(machine: Machine, name: str) -> list:
    return json.loads((machine.folder / name / "results.json").read_text())["results"]


def test_a_second_start_asks_the_hub_nothing(machine: Machine, world: Hub) -> None:
    first, commit = machine.first, world.repositories["dataset", DATA].commit_of("main")
    asked = [path for method, path in first.requests if path == f"/api/datasets/{DATA}/revision/main"]
    assert len(asked) == 1  # not for every task and split
    assert first.stdout.splitlines()[-1] == "outputs/glue_hyperpp_small"
    environment = json.loads((machine.folder / "outputs/glue_hyperpp_small/environment.json").read_text())
    assert environment["data_sets"] == {DATA: commit}
    second = machine.run("train", "glue_hyperpp_small", *SHRUNK, "output_dir=second")
    assert second.requests == []
    used = machine.run("eval", "second", "--json")
    assert used.requests == []
    assert results(machine, "second") == results(machine, "outputs/glue_hyperpp_small")


def test_the_same_run_without_a_hub(machine: Machine) -> None:
    offline = machine.run("train", "glue_hyperpp_small", *SHRUNK, "output_dir=offline", HF_HUB_OFFLINE="1")
    assert offline.requests == []
    gone = machine.run("train", "glue_hyperpp_small", *SHRUNK, "output_dir=gone", HF_ENDPOINT=machine.hub.endpoint)
    assert gone.requests == []
    for name in ("offline", "gone"):
        run, whole = machine.folder / name, machine.folder / "outputs/glue_hyperpp_small"
        assert all((weights(run)[key] == value).all() for key, value in weights(whole).items())


def test_a_deleted_copy_is_fetched_again(machine: Machine, world: Hub) -> None:
    """Of the same commit, and the run that began with it goes on."""
    shutil.rmtree(machine.folder / "hf")
    again = machine.run("train", "glue_hyperpp_small", *SHRUNK, "output_dir=again")
    assert again.requests
    assert results(machine, "again") == results(machine, "outputs/glue_hyperpp_small")


def test_an_export_is_pushed(machine: Machine, world: Hub) -> None:
    run = "outputs/glue_hyperpp_small"
    done = machine.run("export", run, "--format", "hub", "--push-to", "someone/glue")
    assert f"{world.endpoint}/someone/glue" in done.stdout + done.stderr
    pushed = world.repositories["model", "someone/glue"].revisions["main"]
    written = {path.name: path.read_bytes() for path in (machine.folder / run / "export/hub").iterdir()}
    assert pushed == written and "hyperformer.safetensors" in pushed
    program = """
from huggingface_hub import snapshot_download
from hyperformer_cli import AdaptedModel
print(AdaptedModel.from_pretrained(snapshot_download("someone/glue")).tasks)
"""
    assert str(list(GLUE)) in machine.python(program).stdout


def train(machine: Machine, **environment: str) -> Done:
    return machine.run("train", "glue_hyperpp_small", *SHRUNK, code=None, **environment)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("401", "answered 401"),
        ("403", "answered 403"),
        ("429", "answered 429"),
        ("503", "answered 503"),
        ("hang", "cannot be reached: no answer in time"),
        ("reset", "cannot be reached"),
    ],
)
def test_a_first_start_at_a_hub_with_a_fault(fault: str, said: str, world: Hub, tmp_path: Path) -> None:
    with world.failing(fault):
        done = train(Machine(tmp_path / "new", world))
    print(f"fault {fault}: exit {done.code}, {done.seconds:.1f} s, {len(done.requests)} requests: {done.stderr}")
    assert done.code == 2 and said in done.stderr and f"'{MODEL}'" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "new/outputs").exists()
    assert len(done.requests) <= 2


@pytest.mark.parametrize("fault", ["401", "503", "hang", "reset", "truncate"])
def test_a_fault_in_the_middle_of_the_data(fault: str, world: Hub, machine: Machine, tmp_path: Path) -> None:
    new = Machine(tmp_path / "new", world)
    with world.failing(fault, only=r"^GET .*cola/train.*parquet$"):
        done = new._run([*PYTHON, LOAD, "cola"], None, {})
    print(f"data, {fault}: exit {done.code}, {done.seconds:.1f} s, {len(done.requests)} requests: {done.stderr}")
    assert done.code == 1 and "task 'cola': data set nyu-mll/glue/cola" in done.stderr
    assert "Traceback" not in done.stderr
    done = new._run([*PYTHON, LOAD, "cola"], 0, {})  # nothing half-written was taken for whole
    assert done.stdout.split()[:2] == ["cola", "64"]


def test_both_forms_of_a_data_set(world: Hub, tmp_path: Path) -> None:
    """What the task expects in the converted form is on main, and the other way round."""
    converted = {path.replace("-00000-of-00001", "/0000"): data for path, data in data_repository({"cb": 40}).items()}
    converted.pop("README.md")
    main = data_repository({"sick": 40})
    main = {path.replace("sick/", "default/"): data for path, data in main.items()}
    main["README.md"] = main["README.md"].replace(b"sick", b"default")
    script = {"README.md": b"", "super_glue.py": b"a loading script"}
    world.add("dataset", "aps/super_glue", converted, "refs/convert/parquet")
    world.add("dataset", "aps/super_glue", script)
    world.add("dataset", "RobZamp/sick", main)
    new = Machine(tmp_path / "new", world)
    done = new._run([*PYTHON, LOAD, "cb", "sick"], 0, {})
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["cb", "40"], ["sick", "40"]]
    again = new._run([*PYTHON, LOAD, "cb", "sick"], 0, {})
    assert again.stdout == done.stdout and again.requests == []


def test_a_moved_branch_is_taken_only_when_asked(world: Hub, tmp_path: Path) -> None:
    new = Machine(tmp_path / "new", world)
    world.add("dataset", "google-research-datasets/paws", renamed("paws", 40))
    first = new._run([*PYTHON, LOAD, "paws"], 0, {})
    world.add("dataset", "google-research-datasets/paws", renamed("paws", 44))
    assert new._run([*PYTHON, LOAD, "paws"], 0, {}).stdout == first.stdout
    refreshed = new._run([*PYTHON, LOAD, "paws"], 0, {"HYPERFORMER_REFRESH": "1"})
    assert refreshed.stdout.split()[1] == "44"
    with world.failing("503"):
        kept = new._run([*PYTHON, LOAD, "paws"], 0, {"HYPERFORMER_REFRESH": "1"})
    assert kept.stdout == refreshed.stdout and "answered 503" in kept.stderr


def renamed(task: str, count: int) -> dict[str, bytes]:
    """The files with the configuration that the shipped task names."""
    files = {path.replace("paws/", "labeled_final/"): data for path, data in data_repository({task: count}).items()}
    return {
        **files,
        "README.md": files["README.md"]
        .replace(b"config_name: paws", b"config_name: labeled_final")
        .replace(b"path: paws/", b"path: labeled_final/"),
    }
