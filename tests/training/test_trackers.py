"""What trackers are told, by what TensorBoard reads back."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from training_runs import StopAt, changed, start, train

from hyperformer_cli.observer import Observer
from hyperformer_cli.training.stopping import Stopped

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

TRACKED = {"report_to": ["tensorboard"], "log_every": 1}


def read(run: Path) -> dict[str, dict[int, float]]:
    """The scalars that TensorBoard shows of a run: by name, then by step, none twice."""
    folders = {str(file.parent) for file in run.glob("tiny*/events*")}
    assert len(folders) == 1
    events = event_accumulator.EventAccumulator(folders.pop())
    events.Reload()
    found = {}
    for name in events.Tags()["scalars"]:
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert max(Counter(step for step, _ in shown).values()) == 1, name
        found[name] = dict(shown)
    return found


def test_losses_scores_and_final_results(recipe_values: dict, tmp_path: Path) -> None:
    run = train(recipe_values, tmp_path / "r", training=TRACKED)
    found, results = read(run), json.loads((run / "results.json").read_text())
    assert found.keys() >= {"train/loss", "train/loss/mrpc", "train/learning_rate", "validation/average"}
    assert list(found["train/loss"]) == list(range(1, 13)) and list(found["validation/mrpc/f1"]) == [6, 12]
    for score in results["results"]:
        shown = found[f"final/{score['split']}/{score['task']}/{score['metric']}"]
        assert shown == {12: pytest.approx(score["value"], abs=1e-3)}


def test_a_resumed_run_shows_every_step_once(recipe_values: dict, tmp_path: Path) -> None:
    class Fault(Observer):
        def stepped(self, step: int) -> None:
            if step == 7:
                raise RuntimeError("power is out")

    whole = read(train(recipe_values, tmp_path / "whole", training=TRACKED))
    with pytest.raises(RuntimeError):  # the last checkpoint is of step 4; steps to 6 have been shown
        train(recipe_values, tmp_path / "cut", Fault(), training=TRACKED)
    with pytest.raises(Stopped):
        train(recipe_values, tmp_path / "cut", StopAt(9), training=TRACKED)
    cut = read(train(recipe_values, tmp_path / "cut", training=TRACKED))
    timed = "train/examples_per_second"
    assert cut.keys() == whole.keys() and list(cut[timed]) == list(whole[timed])
    assert {name: cut[name] for name in cut if name != timed} == {name: whole[name] for name in cut if name != timed}


@pytest.mark.slow
def test_every_cell_of_a_sweep_of_two_processes_ends(
    recipe_values: dict, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    """The first cell crashed as it ended, so that the others were never trained."""
    values = changed(recipe_values, training={**TRACKED, "max_steps": 4}, sweep={"seed": [1, 2]})
    process = start(write_recipe(values), tmp_path / "s", "--nproc-per-node", "2")
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert len(list((tmp_path / "s" / "cells").glob("*/results.json"))) == 2
