"""Whole runs on a tiny T5: results, batches however cut, killed and resumed, two processes as one."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.evaluation.evaluate_run import evaluate_run
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.training.stopping import Stopped
from hyperformer_cli.training.train_recipe import train_recipe


def changed(values: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """A copy with keys replaced; mappings are merged."""
    return {
        **values,
        **{k: {**values.get(k, {}), **v} if isinstance(v, dict) else v for k, v in sections.items()},
    }


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / name / "hyperformer.safetensors")


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def train(values: dict[str, Any], folder: Path, observer: Observer = SILENT, **sections: Any) -> Path:
    return train_recipe(build_recipe(changed(values, output_dir=str(folder), **sections)), observer).path


class StopAt(Observer):
    """Sends this process a signal after a step, as a cluster would."""

    def __init__(self, step: int, number: int = signal.SIGTERM):
        self.step, self.number = step, number

    def stepped(self, step: int) -> None:
        if step == self.step:
            os.kill(os.getpid(), self.number)


class StopInEvaluation(Observer):
    def evaluating(self, task: str, split: str, examples: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


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
    run = train(recipe_values, tmp_path / "r")
    kinds = {path.suffix for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert kinds == {".safetensors", ".json", ".jsonl", ".yaml"}
    for path in run.rglob("*.safetensors"):
        load_file(path)


def test_frozen_weights_stay_and_trained_ones_move(recipe_values: dict, tmp_path: Path) -> None:
    run = train(recipe_values, tmp_path / "r")
    names = weights(run).keys()
    assert all(name.startswith("bank.") or name.endswith("layer_norm.weight") for name in names)
    start = train(changed(recipe_values, training={"max_steps": 1, "learning_rate": 1e-12}), tmp_path / "s")
    moved = {name: largest_difference({0: weights(run)[name]}, {0: weights(start)[name]}) for name in names}
    assert all(distance > 0 for distance in moved.values()), moved


@pytest.mark.parametrize("changes", [{}, {"sampling": {"mixed_batches": True}}, {"sampling": {"length_grouping": True}},
                                     {"protocol": "reference"}])  # fmt: skip
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_micro_batches_do_not_matter(changes: dict, reduction: str, recipe_values: dict, tmp_path: Path) -> None:
    values = changed(recipe_values, data=changes, training={"loss_reduction": reduction, "max_steps": 4, "replicas": 2})
    values["model"] = {**values["model"], "config": {**values["model"]["config"], "dropout_rate": 0.0}}
    whole = train(changed(values, training={"micro_batch_size": 8}), tmp_path / "whole")
    cut = train(changed(values, training={"micro_batch_size": 2}), tmp_path / "cut")
    assert largest_difference(weights(whole), weights(cut)) < 1e-4  # Adam's steps are 3e-3


@pytest.mark.parametrize("protocol", ["paper", "reference"])
def test_the_sum_is_averaged_over_replicas(protocol: str, recipe_values: dict, tmp_path: Path) -> None:
    """With clipping the scale of the gradient matters. A mean has no replicas."""
    values = changed(recipe_values, training={"log_every": 1, "max_steps": 1}, data={"protocol": protocol})

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
    values = changed(recipe_values, training={"log_every": 1})
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


@pytest.mark.parametrize("step", [1, 5, 6, 8, 12])
def test_stopped_and_started_again_is_the_same_run(step: int, recipe_values: dict, tmp_path: Path) -> None:
    whole = train(recipe_values, tmp_path / "whole")
    with pytest.raises(Stopped) as stopped:
        train(recipe_values, tmp_path / "cut", StopAt(step))
    assert stopped.value.exit_code == 143
    assert (tmp_path / "cut" / f"checkpoint-{step}").is_dir()
    assert_same_run(whole, train(recipe_values, tmp_path / "cut"))


def test_stopped_in_an_evaluation(recipe_values: dict, tmp_path: Path) -> None:
    whole = train(recipe_values, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe_values, tmp_path / "cut", StopInEvaluation())
    assert_same_run(whole, train(recipe_values, tmp_path / "cut"))


def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(recipe_values: dict, tmp_path: Path) -> None:
    whole = train(recipe_values, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe_values, tmp_path / "cut", StopAt(10))
    (tmp_path / "cut" / "checkpoint-10" / "optimizer.safetensors").write_bytes(b"")
    assert_same_run(whole, train(recipe_values, tmp_path / "cut"))


def test_a_checkpoint_of_an_earlier_release_is_continued(recipe_values: dict, tmp_path: Path) -> None:
    """Of the schedule it holds three values only."""
    whole = train(recipe_values, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe_values, tmp_path / "cut", StopAt(5))
    checkpoint = tmp_path / "cut" / "checkpoint-5"
    state = json.loads((checkpoint / "state.json").read_text())
    state["scheduler"] = {key: state["scheduler"][key] for key in ("last_epoch", "_step_count", "_last_lr")}
    (checkpoint / "state.json").write_text(json.dumps(state))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["sha256"]["state.json"] = hashlib.sha256((checkpoint / "state.json").read_bytes()).hexdigest()
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    continued = []

    class Continued(Observer):
        def resumed(self, step: int) -> None:
            continued.append(step)

    assert_same_run(whole, train(recipe_values, tmp_path / "cut", Continued()))
    assert continued == [5]


def assert_same_run(whole: Path, cut: Path) -> None:
    for folder in ("last", "best"):
        assert (whole / folder / "hyperformer.safetensors").read_bytes() == (
            cut / folder / "hyperformer.safetensors"
        ).read_bytes()
    read = lambda run: json.loads((run / "results.json").read_text())  # noqa: E731
    for key in ("results", "average", "best"):
        assert read(whole)[key] == read(cut)[key]
    timed = {"seconds", "examples_per_second"}
    lines = lambda run: [  # noqa: E731
        {k: v for k, v in json.loads(line).items() if k not in timed}
        for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    assert lines(whole) == lines(cut)


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


def start(recipe: Path, folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "hyperformer_cli", "train", str(recipe), f"output_dir={folder}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=recipe.parent)


@pytest.mark.slow
def test_killed_in_the_middle_and_started_again(recipe_values: dict, tmp_path: Path, write_recipe) -> None:
    recipe = write_recipe(
        changed(recipe_values, training={"max_steps": 300, "save_every": 7}, evaluation={"every": 50})
    )
    whole = start(recipe, tmp_path / "whole")
    assert whole.communicate(timeout=300)[0].splitlines()[-1] == str(tmp_path / "whole")
    for _ in range(2):
        process = start(recipe, tmp_path / "cut")
        before = set((tmp_path / "cut").glob("checkpoint-*"))
        deadline = time.monotonic() + 120
        while len(set((tmp_path / "cut").glob("checkpoint-*")) - before) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.communicate()
        assert not (tmp_path / "cut" / "results.json").exists()
    last = start(recipe, tmp_path / "cut")
    _, errors = last.communicate(timeout=300)
    assert "continuing after step" in errors
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
def test_several_processes_stop_and_fail_as_one(recipe_values: dict, tmp_path: Path, write_recipe) -> None:
    recipe = write_recipe(changed(recipe_values, training={"max_steps": 5000, "save_every": 5000}))
    process = start(recipe, tmp_path / "r", "--nproc-per-node", "2")
    while "step 9/" not in process.stderr.readline():
        assert process.poll() is None
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and "stopped by SIGTERM" in errors and "Traceback" not in errors
    assert len(list((tmp_path / "r").glob("checkpoint-*"))) == 1

    for wrong in ("data.source=/nowhere", "training.batch_size=9"):
        process = start(recipe, tmp_path / "x", "--nproc-per-node", "2", wrong)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 2 and "Traceback" not in errors and len(errors.splitlines()) < 5, errors
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_two_processes_are_one(recipe_values: dict, tmp_path: Path, write_recipe) -> None:
    values = {**recipe_values, "model": {**recipe_values["model"]}}
    values["model"]["config"] = {**values["model"]["config"], "dropout_rate": 0.0}
    recipe = write_recipe(values)
    for folder, arguments in (("one", ()), ("two", ("--nproc-per-node", "2"))):
        if arguments:  # files of the folder one is in are not imported
            (recipe.parent / "evaluate.py").write_text("raise SystemExit('imported')")
        process = start(recipe, tmp_path / folder, *arguments)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert output.splitlines()[-1] == str(tmp_path / folder)
    assert largest_difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-4
    one, two = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two"))
    assert one["results"] == two["results"]
