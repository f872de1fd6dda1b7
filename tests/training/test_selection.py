"""The metric that selects, the patience that stops, the shares of tasks, and the warnings of what is not learned."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_runs import StopAt, assert_same_run, changed, kept_run, train

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.data.sampling import TemperatureSampler, task_distribution
from hyperformer_cli.engine.answers import Answer
from hyperformer_cli.engine.details import task_details
from hyperformer_cli.engine.scoring import Score, TaskEvaluation
from hyperformer_cli.observer import Observer
from hyperformer_cli.tasks.task import Task
from hyperformer_cli.training.advice import answer_warnings, loss_warnings
from hyperformer_cli.training.stopping import Stopped
from hyperformer_cli.training.train_recipe import train_recipe


class Listener(Observer):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, warning: str) -> None:
        self.warnings.append(warning)


def results_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text())


def evaluations(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "evaluation"]


def value(record: dict[str, Any], task: str, metric: str) -> float:
    [found] = [r["value"] for r in record["results"] if (r["task"], r["metric"]) == (task, metric)]
    return found


def test_a_task_s_metric_chooses_the_best_checkpoint(recipe_values: dict, tmp_path: Path) -> None:
    steps = {"training": {"max_steps": 40, "learning_rate": 0.01}, "adapter": {"method": "finetune"}}
    values = {**changed(recipe_values, **steps), "adapter": {"method": "finetune"}}
    best = {}
    for metric in ("average", "stsb.pearson", "mnli.accuracy"):
        run = train(values, tmp_path / metric, evaluation={"every": 4, "metric": metric})
        best[metric], records = results_of(run)["best"], evaluations(run)
        heights = {r["step"]: r["average"] if metric == "average" else value(r, *metric.split(".")) for r in records}
        assert heights[best[metric]["step"]] == pytest.approx(max(heights.values()), abs=1e-3)
        assert min(step for step, h in heights.items() if h == max(heights.values())) == best[metric]["step"]
    assert set(best["average"]) == {"step", "average"} and best["stsb.pearson"]["metric"] == "stsb.pearson"
    assert len({own["step"] for own in best.values()}) > 1, best  # else the metric has chosen nothing


def test_training_ends_when_patience_does_and_continues_to_the_same(recipe_values: dict, tmp_path: Path) -> None:
    values = changed(recipe_values, training={"max_steps": 60, "learning_rate": 1e-9, "save_every": 60})
    values = changed(values, evaluation={"every": 4, "patience": 3})
    whole = train(values, tmp_path / "whole")
    records, results = evaluations(whole), results_of(whole)
    assert results["steps"] == records[-1]["step"] < 60
    best = max(i for i, record in enumerate(records) if record["best"])
    assert len(records) - 1 - best == 3
    assert (whole / f"checkpoint-{results['steps']}").is_dir()
    with pytest.raises(Stopped):
        train(values, tmp_path / "cut", StopAt(results["steps"] - 5))
    train(values, tmp_path / "cut")
    assert_same_run(whole, tmp_path / "cut")
    (whole / "results.json").unlink()  # killed while it was evaluated for the last time
    train(values, whole)
    assert_same_run(whole, tmp_path / "cut")


def test_probabilities_replace_those_of_size_and_temperature() -> None:
    sizes = [9000, 900, 100]
    distribution = task_distribution(sizes, 2.0, {1: 0.5})
    rest = np.sqrt([9000, 100]) / np.sqrt([9000, 100]).sum()
    np.testing.assert_allclose(distribution, [0.5 * rest[0], 0.5, 0.5 * rest[1]])
    np.testing.assert_allclose(task_distribution(sizes, 2.0, {0: 0.2, 1: 0.3, 2: 0.5}), [0.2, 0.3, 0.5])
    sampler = TemperatureSampler(sizes, 8, temperature=2.0, probabilities={1: 0.5})
    drawn = Counter(sampler.batch(step)[0][0] for step in range(2000))
    assert drawn[1] / 2000 == pytest.approx(0.5, abs=0.04)
    assert drawn[2] / 2000 == pytest.approx(distribution[2], abs=0.03)


def test_a_recipe_s_probabilities_reach_training(recipe_values: dict, tmp_path: Path) -> None:
    shares = {"cola": 0.97, "mrpc": 0.01, "stsb": 0.01, "mnli": 0.01}
    run = train(recipe_values, tmp_path / "run", data={"sampling": {"probabilities": shares}})
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert Counter(task for line in lines for task in line.get("loss_by_task", {})).most_common(1)[0][0] == "cola"


def test_a_run_that_learns_nothing_says_so(recipe_values: dict, tmp_path: Path) -> None:
    """A model that is hardly trained: it writes what is no label, and its loss stays where it was."""
    listener = Listener()
    values = changed(recipe_values, training={"max_steps": 24, "learning_rate": 1e-9, "log_every": 1})
    run = train_recipe(build_recipe({**values, "output_dir": str(tmp_path / "run")}), listener)
    said = "\n".join(results_of(run.path)["warnings"])
    for part in (
        "cola: will see about 48 examples, of 64; try more training.max_steps",
        "answers are no label",
        "evaluation.method=rank",
        "the training loss does not fall",
    ):
        assert part in said and part in "\n".join(listener.warnings), (part, said)
    assert listener.warnings[0].startswith("cola: will see")  # before the first step


def evaluation_of(answers: list[str], gold: list[str], value: float, majority: float) -> TaskEvaluation:
    task = Task(name="tickets", template="{x}", labels=["low", "high"])
    scores = [Score("tickets", "test", "accuracy", value, majority, len(gold))]
    details = task_details(task, "test", answers, gold)
    return TaskEvaluation(task, "test", [Answer(text) for text in answers], gold, scores, details)


@pytest.mark.parametrize(
    ("answers", "value", "expected"),
    [
        (["low"] * 20, 65.0, ["the same answer, 'low', for all 20 rows, which have 2 labels (test)"]),
        (["low"] * 19 + ["high"], 65.0, ["accuracy 65.00 is no better than the most frequent answer's, 65.00 (test)"]),
        (["low"] * 15 + ["high"] * 5, 75.0, []),
        (
            ["low"] * 10 + ["high"] * 5 + ["lowlow"] * 4 + [""],
            70.0,
            ["5 of 20 answers are no label: 'lowlow' (4), '' (1);"],
        ),
    ],
)
def test_answers_that_say_that_nothing_was_learned(answers: list[str], value: float, expected: list[str]) -> None:
    found = answer_warnings([evaluation_of(answers, ["low"] * 13 + ["high"] * 7, value, 65.0)])
    assert len(found) == len(expected)
    for warning, part in zip(found.values(), expected, strict=True):
        assert part in warning and ("try more" in warning or "evaluation.method=rank" in warning)


def test_a_loss_that_does_not_fall() -> None:
    records = [{"kind": "training", "step": i, "loss_by_task": {"flat": 2.0, "falls": 2.0 - i / 10}} for i in range(8)]
    assert [task for task, _ in loss_warnings([*records, {"kind": "evaluation", "step": 8}], [])] == ["flat"]
    assert loss_warnings(records, ["flat"]) == {}  # it is low enough: the task's score says so
    assert loss_warnings(records[:3], []) == {}


def test_a_run_that_learns_says_nothing(recipe_values: dict, tmp_path: Path) -> None:
    """Labels that one word decides, learned by fine-tuning."""
    rows = [{"text": word, "label": label} for word, label in (("the cat", "0"), ("a dog", "1")) for _ in range(40)]
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "validation", "test")}
    task = {"name": "pets", "template": "{text}", "labels": ["0", "1"], "files": files}
    listener = Listener()
    values = {**changed(recipe_values, training={"max_steps": 40, "learning_rate": 0.02}), "tasks": [task]}
    values |= {"adapter": {"method": "finetune"}, "output_dir": str(tmp_path / "run")}
    run = train_recipe(build_recipe(values), listener)
    assert results_of(run.path)["average"]["test"]["tasks"] == 100
    assert results_of(run.path)["warnings"] == []
    assert all("inputs" in warning for warning in listener.warnings)  # of the data, which repeat themselves


def test_results_have_details(recipe_values: dict, tmp_path: Path) -> None:
    results = results_of(kept_run(recipe_values, tmp_path / "run"))
    assert [(own["task"], own["split"]) for own in results["details"]] == [
        (task, split) for split in ("validation", "test") for task in recipe_values["tasks"]
    ]
    alone = changed(recipe_values, joint=False, training={"max_steps": 4}, evaluation={"every": 4})
    merged = results_of(train(alone, tmp_path / "alone"))
    assert [(own["task"], own["split"]) for own in merged["details"]] == [
        (own["task"], own["split"]) for own in results["details"]
    ]
    assert merged["steps"] == 16 and merged["warnings"]
