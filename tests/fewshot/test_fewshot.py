"""`hyperformer fewshot` as typed: which runs are a start, which targets and settings are refused."""

import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import sentence
from pyarrow import parquet
from transfer_runs import copy_of_trained, run, write_targets

from hyperformer_cli import AdaptedModel
from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.tasks.registry import get_task


@pytest.fixture
def trained(recipe_values: dict, data_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    write_targets(data_folder)
    return partial(copy_of_trained, recipe_values, tmp_path / "run")


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
    trials = {path: json.loads(path.read_text()) for path in (folder / "fewshot").glob("*/*-shot/seed-*.json")}
    assert len(trials) == 8
    for path, trial in trials.items():
        assert path == folder / "fewshot" / trial["task"] / f"{trial['shots']}-shot" / f"seed-{trial['seed']}.json"
        assert len(trial["indices"]) == trial["shots"] and len(trial["task_embedding"]) == 64
        assert trial["init_from"] == "mrpc"
        assert trial["results"][0]["examples"] == {"paws": 14, "imdb": 10}[trial["task"]]
    for row in summary["results"]:
        values = [
            t["results"][0]["value"] for t in trials.values() if (t["task"], t["shots"]) == (row["task"], row["shots"])
        ]
        assert row["mean"] == pytest.approx(statistics.fmean(values), abs=1e-3)
        assert row["std"] == pytest.approx(statistics.stdev(values), abs=1e-3)

    before = {path: path.stat().st_mtime_ns for path in trials}
    more = run(*command, "--seeds", "1,2,3")
    assert "4 of 12 trials to do" in more.stderr and more.stdout.strip().endswith(str(folder / "fewshot.json"))
    assert {path: path.stat().st_mtime_ns for path in trials} == before
    assert [row["n"] for row in json.loads((folder / "fewshot.json").read_text())["results"]] == [3, 3, 3, 3]

    assert "12 trials, 12 of them done" in run(*command, "--seeds", "1,2,3", "--dry-run").stdout
    for mode in ((), ("--dry-run",)):
        changed = run(*command, "--set", "fewshot.max_steps=4", *mode)
        assert changed.exit_code == 2 and "max_steps 3, now 4" in changed.stderr
    elsewhere = run(*command, "--set", "fewshot.max_steps=4", "--output-dir", tmp_path / "other", "--seeds", "1")
    assert elsewhere.exit_code == 0 and (tmp_path / "other" / "fewshot.json").is_file()


def test_auto_starts_from_the_lowest_validation_loss(trained: Callable, data_folder: Path) -> None:
    folder = trained()
    result = run("fewshot", folder, "--target-tasks", "paws", "--init-from", "auto", "--shots", "4", "--seeds", "1")
    assert result.exit_code == 0, result.output
    model = AdaptedModel.from_pretrained(folder / "best").eval()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "best")
    rows = parquet.read_table(data_folder / "paws" / "validation.parquet").to_pylist()
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
        (("--target-tasks", "paws,paws"), "duplicate target 'paws'"),
        (("--target-tasks", "boolq", "--init-from", "cola"), "no folder 'boolq'"),
        (("--target-tasks", "paws", "--init-from", "mrpx"), "did you mean 'mrpc'"),
        (("--target-tasks", "paws"), "'paws' starts from 'qqp', which the run was not trained on"),
        (("--target-tasks", "paws", "--init-from", "mrpc", "--shots", "31"), "'paws' has 30 training examples"),
        (("--target-tasks", "paws", "--shots", "0"), "fewshot.sizes.0"),
        (("--target-tasks", "paws", "--shots", "4,4"), "duplicate value 4"),
        (("--target-tasks", "paws", "--shots", "few"), "numbers separated by commas"),
        (("--target-tasks", "paws", "--train", "everything"), "found 'everything'; valid: all, task-embedding"),
        (("--target-tasks", "paws", "--set", "model.name=x"), "fewshot uses"),
        (
            ("--target-tasks", "paws", "--set", "training.max_steps=1"),
            "a transfer uses fewshot.max_steps, not training.max_steps",
        ),
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
    assert refused.exit_code == 2 and "one model per task" in refused.stderr


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
    assert again.exit_code == 0 and "0 of 1 trials to do" in again.stderr


def test_a_run_of_a_low_resource_curve_is_a_start_like_any_other(trained: Callable, recipe_values: dict) -> None:
    folder = trained(data={**recipe_values["data"], "samples_per_task": 5})
    command = ("fewshot", folder, "--target-tasks", "paws", "--init-from", "mrpc", "--shots", "6", "--json")
    plan = json.loads(run(*command, "--dry-run").stdout)
    assert plan["targets"]["paws"]["train"] == 30 and plan["cells"] == 2
    assert json.loads(run(*command).stdout)["results"][0]["n"] == 2
