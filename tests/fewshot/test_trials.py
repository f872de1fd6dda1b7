"""Trials of a transfer leave no trace in each other, and what fails or was made otherwise spoils no mean."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow import parquet
from safetensors.torch import load_file
from transfer_runs import copy_of_trained, run, write_targets

from hyperformer_cli import AdaptedModel
from hyperformer_cli.runs.fewshot_files import FewShotTrial


@pytest.fixture
def trained(recipe_values: dict, data_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    write_targets(data_folder)
    return partial(copy_of_trained, recipe_values, tmp_path / "run")


@pytest.mark.parametrize("method", ["finetune", "adapters", "hyperformer++"])
def test_a_trial_does_not_see_those_before_it(method: str, trained: Callable, tmp_path: Path) -> None:
    """One trial alone gives what it gives after three others; the run's own weights stay as they were."""
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
    from hyperformer_cli.engine.scoring import Evaluator

    folder, seen, evaluate = trained(), [], Evaluator.evaluate
    monkeypatch.setattr(
        Evaluator,
        "evaluate",
        lambda self, *data: (
            seen.append({n: p.clone() for n, p in self.model.trained_parameters().items()}) or evaluate(self, *data)
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


def test_trials_made_in_different_ways_are_not_averaged(trained: Callable, data_folder: Path) -> None:
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
    rows = parquet.read_table(data_folder / "paws" / "test.parquet")
    other = Path(shutil.copytree(data_folder, folder.parent / "other"))
    parquet.write_table(rows.slice(1), other / "paws" / "test.parquet")
    refused = run(*common, "--init-from", "mrpc", "--seeds", "2", "--set", f"data.source={other}")
    assert refused.exit_code == 2 and "other data" in refused.stderr
    assert (folder / "fewshot.json").read_text() == before


def test_a_damaged_trial_is_done_again_and_one_of_another_version_refused(trained: Callable) -> None:
    folder = trained()
    command = ("fewshot", folder, "--target-tasks", "paws", "--init-from", "mrpc", "--shots", "4")
    assert run(*command).exit_code == 0
    trial = folder / "fewshot" / "paws" / "4-shot" / "seed-2.json"
    whole = json.loads(trial.read_text())
    leftovers = [folder / ".fewshot.json.1.tmp", trial.with_name(".seed-2.json.1.tmp")]
    for leftover in leftovers:
        leftover.touch()
    assert run(*command).exit_code == 0 and not any(leftover.exists() for leftover in leftovers)
    for damaged in ("{", "[]", json.dumps({**whole, "results": []})):
        trial.write_text(damaged)
        only_one = run(*command, "--seeds", "1", "--json")
        assert only_one.exit_code == 0 and json.loads(only_one.stdout)["results"][0]["n"] == 1
        assert "1 of 2 trials to do" in run(*command).stderr
        assert json.loads(trial.read_text())["results"] == whole["results"]
    trial.write_text(json.dumps({**whole, "format_version": 2}))
    refused = run(*command, "--seeds", "1")
    assert refused.exit_code == 2 and "format version 2" in refused.stderr


def test_a_figure_that_changed_on_the_disk_is_not_averaged(trained: Callable) -> None:
    folder = trained()
    command = ("fewshot", folder, "--target-tasks", "paws", "--init-from", "mrpc", "--shots", "4", "--json")
    first = run(*command)
    assert first.exit_code == 0 and run("verify", folder).exit_code == 0
    trial = folder / "fewshot" / "paws" / "4-shot" / "seed-2.json"
    content = json.loads(trial.read_text())
    content["results"][0]["value"] += 50
    trial.write_text(json.dumps(content))
    assert "damaged  fewshot/paws/4-shot/seed-2.json" in run("verify", folder).stdout
    again = run(*command)
    assert "1 of 2 trials to do" in again.stderr and json.loads(again.stdout) == json.loads(first.stdout)
    assert run("verify", folder).exit_code == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--target-tasks", "mrpc"], "'mrpc' is a task the run was trained on"),
        (["--target-tasks", "paws,paws"], "duplicate"),
        (["--target-tasks", "paws", "--init-from", "nope"], "the run has no task 'nope'"),
    ],
)
def test_the_dry_run_refuses_what_the_start_refuses(options: list[str], complaint: str, trained: Callable) -> None:
    folder = trained()
    for dry in ([], ["--dry-run"]):
        refused = run("fewshot", folder, *options, *dry)
        assert refused.exit_code == 2 and complaint in refused.stderr, refused.output


def test_a_trial_that_fails_loses_no_other(trained: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from hyperformer_cli.engine.step import LossFunction
    from hyperformer_cli.fewshot.transfer import Transfer

    folder, train = trained(), Transfer._train

    def fail(self: Transfer, examples: Any, trial: FewShotTrial) -> None:
        train(self, examples, trial)
        if trial.seed == 1:
            raise RuntimeError("out of memory")

    monkeypatch.setattr(Transfer, "_train", fail)
    command = ("fewshot", folder, "--target-tasks", "paws", "--init-from", "mrpc", "--shots", "4,6")
    result = run(*command)
    assert result.exit_code == 1 and "2 of 4 trials failed: paws, 4 examples, seed 1; paws, 6" in result.stderr
    assert [row["seeds"] for row in json.loads((folder / "fewshot.json").read_text())["results"]] == [[2], [2]]
    monkeypatch.undo()
    assert run(*command, "--json").exit_code == 0

    def fail_within_a_step(self: LossFunction, batch: Any, smoothing: float) -> Any:
        if len(batch.task_ids) == 2:  # the last part of a batch of six, whose first has its gradients by now
            raise RuntimeError("out of memory")
        return losses(self, batch, smoothing)

    losses = LossFunction.__call__
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
    common = (*common, "--set", "training.micro_batching=rows", "--set", "fewshot.batch_size=6")
    alone, after = folder.parent / "alone", folder.parent / "after"
    assert run(*common, "--shots", "4", "--seeds", "2", "--output-dir", alone).exit_code == 0
    with monkeypatch.context() as patched:
        patched.setattr(LossFunction, "__call__", fail_within_a_step)
        assert run(*common, "--shots", "6,4", "--seeds", "2", "--output-dir", after).exit_code == 1
    trials = [json.loads((f / "fewshot" / "paws" / "4-shot" / "seed-2.json").read_text()) for f in (alone, after)]
    assert trials[0]["task_embedding"] == trials[1]["task_embedding"]

    diverged = run(*command, "--output-dir", folder.parent / "o", "--set", "fewshot.learning_rate=1e30")
    assert diverged.exit_code == 1 and "the loss is not finite" in diverged.stderr
    assert not (folder.parent / "o" / "fewshot.json").exists()
