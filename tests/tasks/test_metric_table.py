"""The table of metrics: what it says of each, and that a new one is an entry and a class."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import datasets
import evaluate
import numpy as np
import pytest
from typer.testing import CliRunner

from hyperformer_cli.cli.main import app
from hyperformer_cli.data.metrics import score
from hyperformer_cli.runs.results import mean_of_metrics_and_tasks
from hyperformer_cli.tasks.metrics import DEFAULT_METRICS, METRICS, Metric, oriented
from hyperformer_cli.tasks.registry import get_task
from hyperformer_cli.tasks.task import Task


class MeanAbsoluteError(evaluate.Metric):
    """A hundredth of the table's values, as every implementation gives."""

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value("float64")
        features = datasets.Features({"predictions": value, "references": value})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        return {"mae": sum(abs(p - r) for p, r in zip(predictions, references, strict=True)) / len(references)}


@pytest.fixture
def mae(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """On 0 to 5 it is at most 600, of an answer that is no number (-1) to a reference of 5."""
    metric = Metric("numbers", "MAE", "mae", f"{__name__}:MeanAbsoluteError", range=(0, 600), higher_is_better=False)
    monkeypatch.setitem(METRICS, "mae", metric)
    return metric


_TASKS = {
    "labels": Task(name="t", template="{x}", labels=["no", "yes"]),
    "numbers": Task(name="t", template="{x}", range=[0.0, 5.0]),
    "text": Task(name="t", template="{x}", target="{y}"),
}


@pytest.mark.parametrize("name", METRICS)
def test_every_entry_has_its_implementation(name: str) -> None:
    metric = METRICS[name]
    if metric.library is not None:
        pytest.importorskip(metric.library)
    task = _TASKS[metric.scores].model_copy(update={"metrics": [name]})
    answers = list(task.possible_targets()[:2]) or ["the cat sees the old dog", "the child finds the tree"]
    found, worse = score(task, answers, answers)[name], score(task, answers, answers[::-1])[name]
    assert metric.load().__module__ == "hyperformer_cli.data.metrics"
    assert found == pytest.approx(metric.range[metric.higher_is_better])
    assert oriented(name, found) == pytest.approx(metric.range[1]) and oriented(name, worse) < metric.range[1]
    assert metric.range[0] <= min(found, worse)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_what_evaluate_makes_of_it(name: str) -> None:
    """Bit for bit, without the table in which evaluate keeps the values."""
    if METRICS[name].library is not None:
        pytest.importorskip(METRICS[name].library)
    random = np.random.default_rng(0)
    values = {
        "labels": [random.integers(0, 2, 60).tolist(), random.integers(-1, 2, 60).tolist()],
        "numbers": [random.random(60).round(1).tolist(), [-1, *random.random(59).tolist()]],
        "text": [["the cat sees the old dog", "a child"], ["the dog sees an old cat", "a child "]],
    }
    references, predictions = values[METRICS[name].scores]
    metric = METRICS[name].load()(keep_in_memory=True)
    by_evaluate = evaluate.Metric.compute(metric, predictions=predictions, references=references)
    assert metric.compute(predictions=predictions, references=references) == by_evaluate
    assert 0 < abs(by_evaluate[name]) < 1


def test_a_split_of_one_row_has_scores() -> None:
    task = _TASKS["numbers"].model_copy(update={"metrics": ["pearson", "spearmanr", "mean_absolute_error"]})
    assert score(task, ["3.0"], ["2.5"]) == {"pearson": 0, "spearmanr": 0, "mean_absolute_error": 0.5}


def test_a_metric_without_its_library_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, recipe_values: dict, data_folder: Path, write_recipe: Callable, tmp_path: Path
) -> None:
    monkeypatch.setattr("hyperformer_cli.tasks.metrics.find_spec", lambda name: None)
    files = {split: str(data_folder / "stsb" / f"{split}.csv") for split in ("train", "validation")}
    task = {"name": "copy", "template": "{sentence1}", "target": "{sentence1}", "files": files, "metrics": ["rougeL"]}
    for dry in ([], ["--dry-run"]):
        result = CliRunner().invoke(app, ["train", str(write_recipe({**recipe_values, "tasks": [task]})), *dry])
        assert result.exit_code == 2 and "pip install 'hyperformer[rouge]'" in result.stderr
    assert not (tmp_path / "run").exists()


def test_defaults_score_their_kind() -> None:
    assert {kind: {METRICS[name].scores for name in names} for kind, names in DEFAULT_METRICS.items()} == {
        kind: {kind} for kind in ("labels", "numbers", "text")
    }


def test_the_table_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys; from hyperformer_cli.tasks import registry; registry.all_tasks(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "hyperformer_cli.tasks.metrics" in loaded
    assert not {"torch", "transformers", "evaluate", "datasets", "hyperformer_cli.data.metrics"} & set(loaded)


def test_lower_is_better_is_turned_around_in_averages(mae: Metric) -> None:
    assert oriented("mae", 60.0) == 540.0 and oriented("pearson", -3.0) == -3.0
    scores = [("stsb", "mae", 60.0), ("stsb", "pearson", 80.0), ("cola", "accuracy", 70.0)]
    assert mean_of_metrics_and_tasks(scores) == {"metrics": (540 + 80 + 70) / 3, "tasks": (310 + 70) / 2}


def test_a_new_metric_is_an_entry_and_a_class(
    mae: Metric, recipe_values: dict, data_folder: Path, write_recipe: Callable, tmp_path: Path
) -> None:
    """A task is trained, evaluated and reported with it, and the best checkpoint has the lowest value."""
    task = {
        **get_task("stsb").model_dump(exclude_unset=True),
        "name": "similarity",
        "path": None,
        "configuration": None,
        "files": {split: str(data_folder / "stsb" / f"{split}.csv") for split in ("train", "validation")},
        "metrics": ["mae"],
    }
    assert score(Task(**task), ["2.0", "?", "4.5"], ["1.0", "3.0", "4.5"]) == {"mae": pytest.approx(100 * 5 / 3)}
    recipe = write_recipe({**recipe_values, "tasks": [task], "evaluation": {"every": 4}})

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    run("train", recipe, "adapter={method: finetune}", "training.learning_rate=0.01", "training.max_steps=24")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    errors = {line["step"]: line["results"][0]["value"] for line in lines if line["kind"] == "evaluation"}
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert len(set(errors.values())) > 1, errors
    assert errors[results["best"]["step"]] == min(errors.values())
    values = {result["split"]: result["value"] for result in results["results"] if result["metric"] == "mae"}
    assert results["average"]["validation"]["metrics"] == pytest.approx(600 - values["validation"], abs=1e-3)

    again = json.loads(run("eval", tmp_path / "run", "--json"))
    assert again["results"] == results["results"] and again["average"] == results["average"]
    assert "similarity MAE" in run("report", tmp_path / "run", "--format", "markdown")
    run("export", tmp_path / "run", "--format", "hub")
    assert "\n- mae\n" in next((tmp_path / "run" / "export").rglob("README.md")).read_text()
