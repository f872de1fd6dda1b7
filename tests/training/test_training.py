"""Whole runs on a tiny T5: results, batches however cut, recipes and data that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from training_runs import changed, kept_run, largest_difference, train, weights
from transformers import AutoTokenizer

from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.evaluation.evaluate_run import evaluate_run
from hyperformer_cli.observer import Observer
from hyperformer_cli.runs.opened import OpenedRun

HARDLY_EVALUATED = {"every": 1000, "splits": ["validation"], "max_examples": 2}  # where only training matters


@pytest.mark.parametrize(
    "method", ["finetune", "adapters", "hyperformer", "hyperformer-shared-layers", "hyperformer++"]
)
def test_a_run_from_recipe_to_results(method: str, recipe_values: dict, tmp_path: Path) -> None:
    adapter = {"method": method} if method == "finetune" else {"method": method, "reduction_factor": 4}
    values = {**recipe_values, "adapter": adapter}
    run = train(values, tmp_path / "r")
    results = json.loads((run / "results.json").read_text())
    assert results["method"] == method and results["format_version"] == 1
    found = {(r["task"], r["split"], r["metric"]) for r in results["results"]}
    assert len(found) == 2 * 6  # matthews, accuracy and f1, pearson and spearman, accuracy
    for result in results["results"]:
        assert -100 <= result["value"] <= 100 and result["examples"] == {"mnli": 24}.get(result["task"], 12)
    again = evaluate_run(OpenedRun(run))
    assert again["results"] == results["results"] and again["average"] == results["average"]
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    training = [record for record in records if record["kind"] == "training"]
    assert [record["step"] for record in training] == [3, 6, 9, 12]
    assert training[-1]["loss"] < training[0]["loss"]
    best = max((r for r in records if r["kind"] == "evaluation"), key=lambda r: r["average"])
    assert results["best"] == {"step": best["step"], "average": best["average"]}
    assert results["average"]["validation"]["metrics"] == pytest.approx(best["average"], abs=1e-3)


def test_no_file_of_a_run_is_a_pickle(recipe_values: dict, tmp_path: Path) -> None:
    run = kept_run(recipe_values, tmp_path / "r")
    kinds = {path.suffix for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert kinds == {".safetensors", ".json", ".jsonl", ".yaml"}
    for path in run.rglob("*.safetensors"):
        load_file(path)


def test_frozen_weights_stay_and_trained_ones_move(recipe_values: dict, tmp_path: Path) -> None:
    run = kept_run(recipe_values, tmp_path / "r")
    names = weights(run).keys()
    assert all(name.startswith("bank.") or name.endswith("layer_norm.weight") for name in names)
    barely = {"training": {"max_steps": 1, "learning_rate": 1e-12}, "evaluation": HARDLY_EVALUATED}
    start = train(changed(recipe_values, **barely), tmp_path / "s")
    moved = {name: largest_difference({0: weights(run)[name]}, {0: weights(start)[name]}) for name in names}
    assert all(distance > 0 for distance in moved.values()), moved


@pytest.mark.parametrize("changes", [{}, {"sampling": {"mixed_batches": True}}, {"sampling": {"length_grouping": True}},
                                     {"protocol": "reference"}])  # fmt: skip
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_micro_batches_do_not_matter(changes: dict, reduction: str, recipe_values: dict, tmp_path: Path) -> None:
    values = changed(recipe_values, data=changes, training={"loss_reduction": reduction, "max_steps": 4, "replicas": 2})
    values["model"] = {**values["model"], "config": {**values["model"]["config"], "dropout_rate": 0.0}}
    values["evaluation"] = HARDLY_EVALUATED
    whole = train(changed(values, training={"micro_batch_size": 8}), tmp_path / "whole")
    cut = train(changed(values, training={"micro_batch_size": 2}), tmp_path / "cut")
    assert largest_difference(weights(whole), weights(cut)) < 1e-4  # Adam's steps are 3e-3


@pytest.mark.parametrize("protocol", ["paper", "reference"])
def test_the_sum_is_averaged_over_replicas(protocol: str, recipe_values: dict, tmp_path: Path) -> None:
    """With clipping the scale of the gradient matters. A mean has no replicas."""
    values = changed(recipe_values, training={"log_every": 1, "max_steps": 1}, data={"protocol": protocol})
    values["evaluation"] = HARDLY_EVALUATED

    def gradient_norm(replicas: int, reduction: str = "sum") -> float:
        folder = tmp_path / f"{reduction}-{replicas}"
        run = train(values, folder, training={**values["training"], "replicas": replicas, "loss_reduction": reduction})
        return json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["gradient_norm"]

    one, four = gradient_norm(1), gradient_norm(4)
    if protocol == "paper":  # else other rows are drawn
        assert four == pytest.approx(one / 4, rel=1e-3)
        assert gradient_norm(4, "mean") == gradient_norm(1, "mean")
    else:
        assert four != pytest.approx(one, rel=0.5)


def test_bfloat16_and_gradient_checkpointing_follow_float32(recipe_values: dict, tmp_path: Path) -> None:
    values = changed(recipe_values, training={"log_every": 1}, evaluation=HARDLY_EVALUATED)
    values["model"] = {**values["model"], "config": {**values["model"]["config"], "dropout_rate": 0.0}}

    def losses(folder: str, **sections: Any) -> list[float]:
        run = train(values, tmp_path / folder, **sections)
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [record["loss"] for record in records if record["kind"] == "training"]

    plain = losses("plain")
    assert losses("ckpt", model={"gradient_checkpointing": True}) == pytest.approx(plain, abs=1e-4)
    assert losses("bf16", training={"precision": "bfloat16"}) == pytest.approx(plain, abs=0.1)


def test_separate_tasks_make_one_row(recipe_values: dict, tmp_path: Path) -> None:
    values = {**recipe_values, "tasks": ["cola", "mrpc"], "joint": False}
    run = train({**values, "adapter": {"method": "adapters", "reduction_factor": 4}}, tmp_path / "r")
    results = json.loads((run / "results.json").read_text())
    cells = [json.loads((run / "cells" / f"task={t}" / "results.json").read_text()) for t in values["tasks"]]
    assert len(results["results"]) == sum(len(cell["results"]) for cell in cells) == 6
    assert results["parameters"]["trained"] == 2 * cells[0]["parameters"]["trained"]
    assert evaluate_run(OpenedRun(run))["results"] == results["results"]
    assert [r["task"] for r in evaluate_run(OpenedRun(run), tasks=["mrpc"], splits=["test"])["results"]] == [
        "mrpc",
        "mrpc",
    ]


def test_a_finished_run_is_left_alone_and_another_recipe_refused(recipe_values: dict, tmp_path: Path) -> None:
    run = train(recipe_values, tmp_path / "r")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    train(recipe_values, tmp_path / "r")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    with pytest.raises(InputError, match="another recipe"):
        train(recipe_values, tmp_path / "r", seed=7)


def test_a_loss_that_is_not_finite_ends_the_run_and_spares_the_checkpoint(recipe_values: dict, tmp_path: Path) -> None:
    class Poison(Observer):
        def __init__(self) -> None:
            self.training = None

        def stepped(self, step: int) -> None:
            if step == 5:
                import gc

                from hyperformer_cli.training.loop import Training

                training = next(o for o in gc.get_objects() if isinstance(o, Training) and o.observer is self)
                next(iter(training.setup.model.trained_parameters().values())).data.fill_(float("nan"))

    with pytest.raises(HyperformerError, match="not finite"):
        train(recipe_values, tmp_path / "r", Poison())
    assert [path.name for path in (tmp_path / "r").glob("checkpoint-*")] == ["checkpoint-4"]


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        ({"tasks": ["cola", "mrpcc"]}, "unknown task 'mrpcc'; did you mean 'mrpc'"),
        ({"tasks": ["cola", "rte"]}, "no folder 'rte'"),
        ({"data": {"source": "nowhere"}}, "nor a folder"),
        (
            {"data": {"protocol": "reference"}, "training": {"batch_size": 8, "replicas": 3}},
            "training.replicas: protocol: reference draws for 3 processes, over which a batch_size of 8 does not",
        ),
        ({"model": {"tokenizer": "nowhere/at-all"}}, "hub cannot be reached"),
        ({"model": {"config": {"d_modle": 32}}}, "did you mean 'd_model'"),
        ({"model": {"config": {"vocab_size": 20, "d_model": 32, "num_layers": 1}}}, "they do not belong together"),
        ({"adapter": {"reduction_factor": 64}}, "leaves no bottleneck"),
    ],
)
def test_a_recipe_that_cannot_run_leaves_nothing_behind(
    sections: dict, complaint: str, recipe_values: dict, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=complaint):
        train(recipe_values, tmp_path / "r", **sections)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("method", ["finetune", "adapters"])
def test_inputs_cut_to_nothing_are_refused(method: str, length: int, recipe_values: dict, tmp_path: Path) -> None:
    values = {**recipe_values, "adapter": {"method": method}, "tasks": ["cola"]}
    first = "cola sentence:" if method == "finetune" else "sentence:"
    with pytest.raises(InputError, match=f"data.max_source_length: {length} tokens leave nothing .*'{first}'"):
        train(values, tmp_path / "r", data={"max_source_length": length})
    assert not (tmp_path / "r").exists()
    tokenizer = AutoTokenizer.from_pretrained(recipe_values["model"]["tokenizer"])
    enough = len(tokenizer(first)["input_ids"]) + 1
    with pytest.raises(InputError, match="leave nothing"):
        train(values, tmp_path / "r", data={"max_source_length": enough - 1})
    train(values, tmp_path / "r", data={"max_source_length": enough}, training={"max_steps": 1})
