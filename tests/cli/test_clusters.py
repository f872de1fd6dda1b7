"""Real processes under SLURM's variables: what went wrong on a cluster, each thing once."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slurm_steps import finish, start_step, start_task

pytestmark = pytest.mark.slow


@pytest.fixture
def recipe(recipe_values: dict[str, Any], write_recipe: Callable[..., Path]) -> Path:
    return write_recipe(recipe_values)


def weights(run: Path) -> bytes:
    return (run / "last" / "hyperformer.safetensors").read_bytes()


def test_two_steps_at_once_are_two_runs(recipe: Path, tmp_path: Path) -> None:
    """They shared a port, and trained on each other's ranks."""
    for seed in "12":
        alone = finish(start_step(["train", recipe, f"seed={seed}", f"output_dir=alone-{seed}"], tmp_path))
        assert [code for code, *_ in alone] == [0, 0], alone
    together = [
        start_step(["train", recipe, f"seed={seed}", f"output_dir=together-{seed}"], tmp_path, step=step)
        for seed, step in (("1", "0"), ("2", "1"))
    ]
    ended = [finish(step) for step in together]
    assert [code for step in ended for code, *_ in step] == [0, 0, 0, 0], ended
    for seed in "12":
        assert weights(tmp_path / f"together-{seed}") == weights(tmp_path / f"alone-{seed}")


@pytest.mark.parametrize(
    ("other", "step", "differs"),
    [("seed=2", "0", "recipe"), ("output_dir=elsewhere", "0", "recipe"), ("seed=1", "1", "start")],
)
def test_ranks_of_different_runs_refuse_to_train(
    other: str, step: str, differs: str, recipe: Path, tmp_path: Path
) -> None:
    """As where two runs are given one MASTER_PORT by hand."""
    port = {"MASTER_ADDR": "localhost", "MASTER_PORT": "21987"}
    ended = finish(
        [
            start_task(["train", recipe, "seed=1"], 0, 2, tmp_path, **port),
            start_task(["train", recipe, "seed=1", other], 1, 2, tmp_path, step=step, **port),
        ]
    )
    for code, output, errors in ended:
        assert code == 2 and not output and "Traceback" not in errors
        assert f"the processes do not belong together: the {differs} is" in errors
    assert not (tmp_path / "run").exists()


def test_ranks_that_evaluate_different_runs_refuse(recipe: Path, tmp_path: Path) -> None:
    for seed in "12":
        ended = finish([start_task(["train", recipe, f"seed={seed}", f"output_dir=run-{seed}"], 0, 1, tmp_path)])
        assert ended[0][0] == 0, ended
    same = finish([start_task(["eval", "run-1"], rank, 2, tmp_path) for rank in range(2)])
    assert [code for code, *_ in same] == [0, 0], same
    for code, output, errors in finish([start_task(["eval", f"run-{rank + 1}"], rank, 2, tmp_path) for rank in (0, 1)]):
        assert code == 2 and not output and "Traceback" not in errors
        assert "the processes do not belong together: the recipe is" in errors


def test_a_folder_that_the_nodes_do_not_share_is_refused_at_once(
    recipe: Path, tmp_path: Path, recipe_values: dict[str, Any]
) -> None:
    """It trained to the end, then failed."""
    nodes = [tmp_path / "node0", tmp_path / "node1"]
    for node in nodes:
        node.mkdir()
    ended = finish([start_task(["train", recipe, "output_dir=r"], rank, 2, node) for rank, node in enumerate(nodes)])
    for code, _, errors in ended:
        assert code == 2 and "Traceback" not in errors
        assert "output_dir r: not the same folder for all processes: process 1 on" in errors
    assert not any(path for node in nodes for path in node.iterdir())


def test_the_shell_of_salloc_trains_in_one_process(recipe: Path, tmp_path: Path) -> None:
    """It waited for a second one that nobody starts."""
    shell = start_task(["train", recipe], 0, 1, tmp_path, step="4294967290", SLURM_NTASKS="2")
    [(code, output, errors)] = finish([shell], timeout=120)
    assert code == 0 and output.splitlines()[-1] == str(tmp_path / "run"), errors


def test_srun_and_nproc_per_node_together_are_refused(recipe: Path, tmp_path: Path) -> None:
    for code, _, errors in finish(start_step(["train", recipe, "--nproc-per-node", "2"], tmp_path)):
        assert code == 2 and "srun has started 2 processes already" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("launched", [False, True])
def test_sigusr1_saves_as_sigterm_does(
    launched: bool, recipe_values: dict[str, Any], write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """Clusters send it ahead of a time limit; it killed, unsaved."""
    recipe_values["training"] |= {"max_steps": 5000, "save_every": 5000}
    arguments = ["train", write_recipe(recipe_values), *(["--nproc-per-node", "2"] if launched else [])]
    process = start_task(arguments, 0, 1, tmp_path)
    while "step 9/" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGUSR1)
    [(code, _, errors)] = finish([process], timeout=90)
    assert code == 143 and "Traceback" not in errors and "start again to continue" in errors
    assert len(list((tmp_path / "run").glob("checkpoint-*"))) == 1


def test_a_rank_that_the_system_kills_is_named(
    recipe_values: dict[str, Any], write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """The launcher ended with 247 and said nothing."""
    recipe_values["training"] |= {"max_steps": 50000, "save_every": 50000}
    arguments = ["train", write_recipe(recipe_values), "--nproc-per-node", "2"]
    process = start_task(arguments, 0, 1, tmp_path)
    while "step 9/" not in process.stderr.readline():
        assert process.poll() is None
    [victim] = [pid for pid in children(process.pid) if b"RANK=1" in environment(pid)]
    os.kill(victim, signal.SIGKILL)
    start = time.monotonic()
    [(code, _, errors)] = finish([process], timeout=90)
    assert code == 137 and "process 1 of 2 was killed by SIGKILL" in errors
    assert time.monotonic() - start < 45


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def environment(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
