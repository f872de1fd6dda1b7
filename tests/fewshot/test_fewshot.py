"""Few-shot transfer from the command line: cells that leave no trace in each other, and what cannot be done."""

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from conftest import sentence
from pyarrow import parquet
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from hyperformer_cli import AdaptedModel
from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import build_recipe, load_recipe
from hyperformer_cli.data.declared import get_task
from hyperformer_cli.fewshot.protocol import Cell
from hyperformer_cli.training.run import train_recipe

PROTOCOL = {"sizes": [4, 6], "seeds": [1, 2], "max_steps": 3, "batch_size": 4, "learning_rate": 1e-2}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def target_folder(data_folder: Path) -> Path:
    """PAWS (labeled_final) and IMDB in the hub's columns, beside the tasks of `data_folder`."""

    def write(task: str, split: str, rows: list[dict[str, Any]]) -> None:
        (data_folder / task).mkdir(exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(rows), data_folder / task / f"{split}.parquet")

    for split, count in (("train", 30), ("validation", 12), ("test", 14)):
        rows = [
            {"id": i, "sentence1": sentence((split, i)), "sentence2": sentence((split, i, 2)), "label": i % 2}
            for i in range(count)
        ]
        write("paws", split, rows)
    for split in ("train", "test"):
        write("imdb", split, [{"text": sentence((split, "imdb", i)), "label": i % 2} for i in range(20)])
    return data_folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def trained(recipe_values: dict, target_folder: Path, tmp_path: Path, kept: Path) -> Callable[..., Path]:
    """A run with a `fewshot` section of its own: trained once for all tests, and copied."""

    def train(**changes: Any) -> Path:
        values = {
            **recipe_values,
            "tasks": ["cola", "mrpc"],
            "training": {**recipe_values["training"], "max_steps": 2},
            "fewshot": PROTOCOL,
            **changes,
        }
        original = kept / str(abs(hash(json.dumps(changes))))
        if not original.exists():
            train_recipe(build_recipe({**values, "output_dir": str(original)}))
        return Path(shutil.copytree(original, tmp_path / "run", dirs_exist_ok=True))

    return train


def test_as_typed(trained: Callable, tmp_path: Path) -> None:
    """`hyperformer fewshot RUN --target-tasks paws,imdb`, then again, then with one seed more."""
    folder = trained()
    refused = run("fewshot", folder, "--target-tasks", "paws,imdb")
    assert refused.exit_code == 2 and "'paws' starts from 'qqp'" in refused.stderr
    command = ("fewshot", folder, "--target-tasks", "paws,imdb", "--init-from", "mrpc")
    assert json.loads(run(*command, "--dry-run", "--json").stdout)["cells_to_do"] == 8
    first = run(*command, "--json")
    assert first.exit_code == 0, first.output
    summary = json.loads(first.stdout)
    assert summary["format_version"] == 1 and summary["method"] == "hyperformer++" and summary["train"] == "all"
    assert [(row["task"], row["shots"], row["n"]) for row in summary["results"]] == [
        ("imdb", 4, 2), ("imdb", 6, 2), ("paws", 4, 2), ("paws", 6, 2)
    ]  # fmt: skip
    cells = {path: json.loads(path.read_text()) for path in (folder / "fewshot").glob("*/*-shot/seed-*.json")}
    assert len(cells) == 8
    for path, cell in cells.items():
        assert path == folder / "fewshot" / cell["task"] / f"{cell['shots']}-shot" / f"seed-{cell['seed']}.json"
        assert len(cell["indices"]) == cell["shots"] and len(cell["task_embedding"]) == 64
        assert cell["init_from"] == "mrpc"
        assert cell["results"][0]["examples"] == {"paws": 14, "imdb": 10}[cell["task"]]
    for row in summary["results"]:
        values = [
            c["results"][0]["value"] for c in cells.values() if (c["task"], c["shots"]) == (row["task"], row["shots"])
        ]
        assert row["mean"] == pytest.approx(statistics.fmean(values), abs=1e-3)
        assert row["std"] == pytest.approx(statistics.stdev(values), abs=1e-3)

    before = {path: path.stat().st_mtime_ns for path in cells}
    more = run(*command, "--seeds", "1,2,3")
    assert "8 are done already" in more.stderr and more.stdout.strip().endswith(str(folder / "fewshot.json"))
    assert {path: path.stat().st_mtime_ns for path in cells} == before
    assert [row["n"] for row in json.loads((folder / "fewshot.json").read_text())["results"]] == [3, 3, 3, 3]

    assert "12 cells, 12 of them done" in run(*command, "--seeds", "1,2,3", "--dry-run").stdout
    for mode in ((), ("--dry-run",)):
        changed = run(*command, "--set", "fewshot.max_steps=4", *mode)
        assert changed.exit_code == 2 and "max_steps 3, now 4" in changed.stderr
    elsewhere = run(*command, "--set", "fewshot.max_steps=4", "--output-dir", tmp_path / "other", "--seeds", "1")
    assert elsewhere.exit_code == 0 and (tmp_path / "other" / "fewshot.json").is_file()


@pytest.mark.parametrize("method", ["finetune", "adapters", "hyperformer++"])
def test_a_cell_does_not_see_those_before_it(method: str, trained: Callable, tmp_path: Path) -> None:
    """One cell alone gives what it gives after three others; the run's own weights stay as they were."""
    adapter = {"method": method} if method == "finetune" else {"method": method, "reduction_factor": 4}
    folder = trained(adapter=adapter)
    weights = load_file(folder / "best" / "hyperformer.safetensors")
    common = ("fewshot", folder, "--target-tasks", "paws")
    if method == "finetune":
        refused = run(*common, "--init-from", "mrpc")
        assert refused.exit_code == 2 and "nothing by task that a new one could start from" in refused.stderr
    else:
        common = (*common, "--init-from", "mrpc")
    assert run(*common, "--output-dir", tmp_path / "all").exit_code == 0
    assert run(*common, "--output-dir", tmp_path / "one", "--shots", "6", "--seeds", "2").exit_code == 0
    after, alone = (
        json.loads((tmp_path / name / "fewshot" / "paws" / "6-shot" / "seed-2.json").read_text())
        for name in ("all", "one")
    )
    assert {k: v for k, v in after.items() if k != "seconds"} == {k: v for k, v in alone.items() if k != "seconds"}
    assert after["init_from"] == (None if method == "finetune" else "mrpc")
    assert (after["task_embedding"] is None) == (method != "hyperformer++")
    for name, tensor in load_file(folder / "best" / "hyperformer.safetensors").items():
        assert torch.equal(tensor, weights[name])


def test_training_the_task_embedding_alone(trained: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all trained tensors only the new task's embedding moves."""
    from hyperformer_cli.fewshot import transfer

    folder, seen = trained(), []
    evaluate = transfer.evaluate_split
    monkeypatch.setattr(
        transfer,
        "evaluate_split",
        lambda model, *rest: (
            seen.append({n: p.clone() for n, p in model.trained_parameters().items()}) or evaluate(model, *rest)
        ),
    )
    options = ("--target-tasks", "paws", "--init-from", "mrpc", "--shots", "4", "--seeds", "1")
    assert run("fewshot", folder, *options, "--train", "task-embedding").exit_code == 0
    before = AdaptedModel.from_pretrained(folder / "best").trained_parameters()
    for name, tensor in seen[0].items():
        if name != "bank.task_embedding":
            assert torch.equal(tensor, before[name]), name
    embedding = before["bank.task_embedding"]
    assert torch.equal(seen[0]["bank.task_embedding"][:2], embedding)
    assert not torch.allclose(seen[0]["bank.task_embedding"][2], embedding[1])


def test_auto_starts_from_the_lowest_validation_loss(trained: Callable, target_folder: Path) -> None:
    folder = trained()
    result = run("fewshot", folder, "--target-tasks", "paws", "--init-from", "auto", "--shots", "4", "--seeds", "1")
    assert result.exit_code == 0, result.output
    model = AdaptedModel.from_pretrained(folder / "best").eval()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "best")
    rows = parquet.read_table(target_folder / "paws" / "validation.parquet").to_pylist()
    task, losses = get_task("paws"), {}
    for name in model.tasks:
        total = tokens = 0
        for row in rows:
            inputs = tokenizer(task.input_text(row, False), truncation=True, max_length=32, return_tensors="pt")
            labels = tokenizer(task.target_text(row), return_tensors="pt")["input_ids"]
            with torch.no_grad():
                total += float(model(**inputs, labels=labels, task=name).loss) * labels.numel()
            tokens += labels.numel()
        losses[name] = total / tokens
    assert json.loads((folder / "fewshot.json").read_text())["results"][0]["init_from"] == min(losses, key=losses.get)
    for name, loss in losses.items():
        assert f"{name} {loss:.3f}" in result.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--target-tasks", "pawz"), "unknown task 'pawz'; did you mean 'paws'"),
        (("--target-tasks", "mrpc"), "'mrpc' is a task the run was trained on"),
        (("--target-tasks", "paws,paws"), "'paws' stands twice"),
        (("--target-tasks", "boolq", "--init-from", "cola"), "no folder 'boolq'"),
        (("--target-tasks", "paws", "--init-from", "mrpx"), "did you mean 'mrpc'"),
        (("--target-tasks", "paws"), "'paws' starts from 'qqp', which the run was not trained on"),
        (("--target-tasks", "paws", "--init-from", "mrpc", "--shots", "31"), "'paws' has 30 training examples"),
        (("--target-tasks", "paws", "--shots", "0"), "fewshot.sizes.0"),
        (("--target-tasks", "paws", "--shots", "4,4"), "4 stands twice"),
        (("--target-tasks", "paws", "--shots", "few"), "numbers separated by commas"),
        (("--target-tasks", "paws", "--train", "everything"), "found 'everything'; valid: all, task-embedding"),
        (("--target-tasks", "paws", "--set", "model.name=x"), "fewshot uses"),
        (("--target-tasks", "paws", "--set", "training.max_steps=1"), "goes by fewshot.max_steps"),
        (("--target-tasks", "paws", "--set", "data.samples_per_task=1"), "fewshot uses"),
        (("--target-tasks", "paws", "--set", "fewshot.max_step=1"), "did you mean 'max_steps'"),
        (("--recipe", "glue_hyperpp"), "has no fewshot section"),
        (("--recipe", "fewshoot"), "did you mean"),
        ((), "no target tasks"),
    ],
)
def test_mistakes_cost_nothing(options: tuple, complaint: str, trained: Callable) -> None:
    folder = trained()
    result = run("fewshot", folder, *options)
    assert result.exit_code == 2 and complaint in result.stderr, result.output
    assert "Traceback" not in result.output and result.stdout == ""
    assert not list((folder / "fewshot").glob("**/*.json")) and not (folder / "fewshot.json").exists()


def test_a_run_of_another_kind_or_version(trained: Callable, tmp_path: Path) -> None:
    adapters = trained(adapter={"method": "adapters", "reduction_factor": 4})
    refused = run("fewshot", adapters, "--target-tasks", "paws", "--init-from", "mrpc", "--train", "task-embedding")
    assert refused.exit_code == 2 and "'adapters' has no task embeddings" in refused.stderr
    description = adapters / "best" / "hyperformer.json"
    description.write_text(description.read_text().replace('"format_version": 1', '"format_version": 99'))
    refused = run("fewshot", adapters, "--target-tasks", "paws", "--init-from", "mrpc")
    assert refused.exit_code == 2 and "format version 99" in refused.stderr
    assert run("fewshot", tmp_path / "nothing", "--target-tasks", "paws").exit_code == 2


def test_a_static_export_is_not_a_start(trained: Callable) -> None:
    folder = trained()
    assert run("export", folder, "--format", "static").exit_code == 0
    refused = run("fewshot", folder / "export" / "static", "--target-tasks", "paws", "--init-from", "mrpc")
    assert refused.exit_code == 2 and "give the run it was made from" in refused.stderr
    assert not (folder / "export" / "static" / ".lock").exists()


def test_models_of_one_task_each_are_not_a_start(trained: Callable) -> None:
    refused = run("fewshot", trained(joint=False), "--target-tasks", "paws", "--init-from", "mrpc")
    assert refused.exit_code == 2 and "a model a task" in refused.stderr


def test_the_default_run_is_that_of_glue_hyperpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("fewshot", "--target-tasks", "paws,imdb")
    assert result.exit_code == 2
    assert "no run at outputs/glue_hyperpp" in result.stderr and "hyperformer train glue_hyperpp" in result.stderr
    plan = json.loads(run("fewshot", "--dry-run", "--json").stdout)
    assert plan["targets"]["cb"]["shots"] == [4, 16, 32, 100, 250] and plan["cells"] == 6 * 35 + 25


def test_a_target_defined_in_a_recipe(trained: Callable, write_recipe: Callable, tmp_path: Path) -> None:
    folder = trained()
    for split in ("train", "test"):
        lines = [f"{sentence((split, i))}\t{('no', 'yes')[i % 2]}\n" for i in range(12)]
        (tmp_path / f"{split}.tsv").write_text("text\tanswer\n" + "".join(lines))
    values, _ = load_recipe(folder / "recipe.yaml").given()
    task = {
        "name": "mine",
        "files": {split: str(tmp_path / f"{split}.tsv") for split in ("train", "test")},
        "template": "{text}",
        "label_column": "answer",
        "labels": ["no", "yes"],
        "similar_to": "cola",
    }
    values["fewshot"] |= {"target_tasks": [task], "sizes": [4], "seeds": [1]}
    result = run("fewshot", folder, "--recipe", write_recipe(values), "--target-tasks", "mine", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["results"][0]["init_from"] == "cola"

    (tmp_path / "moved").mkdir()  # the same files elsewhere are the same data
    for split, file in task["files"].items():
        task["files"][split] = str(Path(file).rename(tmp_path / "moved" / f"{split}.tsv"))
    again = run("fewshot", folder, "--recipe", write_recipe(values), "--target-tasks", "mine")
    assert again.exit_code == 0 and "0 cells to do" in again.stderr


def test_a_run_of_a_low_resource_curve_is_a_start_like_any_other(trained: Callable, recipe_values: dict) -> None:
    folder = trained(data={**recipe_values["data"], "samples_per_task": 5})
    command = ("fewshot", folder, "--target-tasks", "paws", "--init-from", "mrpc", "--shots", "6", "--json")
    plan = json.loads(run(*command, "--dry-run").stdout)
    assert plan["targets"]["paws"]["train"] == 30 and plan["cells"] == 2
    assert json.loads(run(*command).stdout)["results"][0]["n"] == 2


def test_cells_made_in_different_ways_are_not_averaged(trained: Callable, target_folder: Path) -> None:
    folder = trained()
    common = ("fewshot", folder, "--target-tasks", "paws", "--shots", "4")
    assert run(*common, "--init-from", "mrpc", "--seeds", "1").exit_code == 0
    before = (folder / "fewshot.json").read_text()
    for options, complaint in (
        (("--init-from", "random"), "made with start 'mrpc', now 'random'"),
        (("--init-from", "mrpc", "--set", "fewshot.max_steps=5"), "made with max_steps 3, now 5"),
        (("--init-from", "mrpc", "--set", "training.label_smoothing=0"), "made with label_smoothing"),
    ):
        refused = run(*common, "--seeds", "2", *options)
        assert refused.exit_code == 2 and complaint in refused.stderr, refused.output
    rows = parquet.read_table(target_folder / "paws" / "test.parquet")
    other = Path(shutil.copytree(target_folder, folder.parent / "other"))
    parquet.write_table(rows.slice(1), other / "paws" / "test.parquet")
    refused = run(*common, "--init-from", "mrpc", "--seeds", "2", "--set", f"data.source={other}")
    assert refused.exit_code == 2 and "other data" in refused.stderr
    assert (folder / "fewshot.json").read_text() == before


def test_a_damaged_cell_is_done_again_and_one_of_another_version_refused(trained: Callable) -> None:
    folder = trained()
    command = ("fewshot", folder, "--target-tasks", "paws", "--init-from", "mrpc", "--shots", "4")
    assert run(*command).exit_code == 0
    cell = folder / "fewshot" / "paws" / "4-shot" / "seed-2.json"
    whole = json.loads(cell.read_text())
    leftovers = [folder / ".fewshot.json.1.tmp", cell.with_name(".seed-2.json.1.tmp")]
    for leftover in leftovers:
        leftover.touch()
    assert run(*command).exit_code == 0 and not any(leftover.exists() for leftover in leftovers)
    for damaged in ("{", "[]", json.dumps({**whole, "results": []})):
        cell.write_text(damaged)
        only_one = run(*command, "--seeds", "1", "--json")
        assert only_one.exit_code == 0 and json.loads(only_one.stdout)["results"][0]["n"] == 1
        assert "1 cells to do, 1 are done already" in run(*command).stderr
        assert json.loads(cell.read_text())["results"] == whole["results"]
    cell.write_text(json.dumps({**whole, "format_version": 2}))
    refused = run(*command, "--seeds", "1")
    assert refused.exit_code == 2 and "format version 2" in refused.stderr


def test_a_cell_that_fails_loses_no_other(trained: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from hyperformer_cli.fewshot.transfer import Transfer

    folder, train = trained(), Transfer._train

    def fail(self: Transfer, examples: Any, cell: Cell) -> None:
        train(self, examples, cell)
        if cell.seed == 1:
            raise RuntimeError("out of memory")

    monkeypatch.setattr(Transfer, "_train", fail)
    command = ("fewshot", folder, "--target-tasks", "paws", "--init-from", "mrpc", "--shots", "4,6")
    result = run(*command)
    assert result.exit_code == 1 and "2 of 4 cells failed: paws, 4 examples, seed 1; paws, 6" in result.stderr
    assert [row["seeds"] for row in json.loads((folder / "fewshot.json").read_text())["results"]] == [[2], [2]]
    monkeypatch.undo()
    assert run(*command, "--json").exit_code == 0

    def fail_within_a_step(self: Transfer, batch: Any, split: Any, *how: Any) -> Any:
        if len(batch) == 2:  # the last part of a batch of six, whose first has its gradients by now
            raise RuntimeError("out of memory")
        return losses(self, batch, split, *how)

    losses = Transfer._losses
    common = (
        "fewshot",
        folder,
        "--target-tasks",
        "paws",
        "--init-from",
        "mrpc",
        "--set",
        "training.micro_batch_size=4",
    )
    common = (*common, "--set", "fewshot.batch_size=6")
    alone, after = folder.parent / "alone", folder.parent / "after"
    assert run(*common, "--shots", "4", "--seeds", "2", "--output-dir", alone).exit_code == 0
    with monkeypatch.context() as patched:
        patched.setattr(Transfer, "_losses", fail_within_a_step)
        assert run(*common, "--shots", "6,4", "--seeds", "2", "--output-dir", after).exit_code == 1
    cells = [json.loads((f / "fewshot" / "paws" / "4-shot" / "seed-2.json").read_text()) for f in (alone, after)]
    assert cells[0]["task_embedding"] == cells[1]["task_embedding"]

    diverged = run(*command, "--output-dir", folder.parent / "o", "--set", "fewshot.learning_rate=1e30")
    assert diverged.exit_code == 1 and "the loss is not finite" in diverged.stderr
    assert not (folder.parent / "o" / "fewshot.json").exists()
