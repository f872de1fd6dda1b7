"""Runs stopped, killed and continued end as if never stopped; two processes train as one."""

import hashlib
import json
import time
from pathlib import Path

import pytest
from training_runs import (
    StopAt,
    StopInEvaluation,
    assert_same_run,
    changed,
    kept_run,
    largest_difference,
    start,
    train,
    weights,
)  # fmt: skip

from hyperformer_cli.observer import Observer
from hyperformer_cli.training.stopping import Stopped


@pytest.mark.parametrize("step", [1, 5, 6, 8, 12])
def test_stopped_and_started_again_is_the_same_run(step: int, recipe_values: dict, tmp_path: Path) -> None:
    whole = kept_run(recipe_values, tmp_path / "whole")
    with pytest.raises(Stopped) as stopped:
        train(recipe_values, tmp_path / "cut", StopAt(step))
    assert stopped.value.exit_code == 143
    assert (tmp_path / "cut" / f"checkpoint-{step}").is_dir()
    assert_same_run(whole, train(recipe_values, tmp_path / "cut"))


def test_heads_with_a_rate_of_their_own_keep_their_moments(recipe_values: dict, tmp_path: Path) -> None:
    """The optimizer then has two groups, and numbers the parameters in another order than the model."""
    recipe_values["training"]["head_learning_rate_scale"] = 0.1
    whole = train(recipe_values, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe_values, tmp_path / "cut", StopAt(5))
    assert_same_run(whole, train(recipe_values, tmp_path / "cut"))


def test_stopped_in_an_evaluation(recipe_values: dict, tmp_path: Path) -> None:
    whole = kept_run(recipe_values, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(recipe_values, tmp_path / "cut", StopInEvaluation())
    assert_same_run(whole, train(recipe_values, tmp_path / "cut"))


def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(recipe_values: dict, tmp_path: Path) -> None:
    whole = kept_run(recipe_values, tmp_path / "whole")
    kept_run(recipe_values, tmp_path / "cut", 10)
    (tmp_path / "cut" / "checkpoint-10" / "optimizer.safetensors").write_bytes(b"")
    assert_same_run(whole, train(recipe_values, tmp_path / "cut"))


def test_a_checkpoint_of_an_earlier_release_is_continued(recipe_values: dict, tmp_path: Path) -> None:
    """Of the schedule it holds three values only."""
    whole = kept_run(recipe_values, tmp_path / "whole")
    kept_run(recipe_values, tmp_path / "cut", 5)
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
@pytest.mark.parametrize("model_type", ["t5", "llama"])
def test_two_processes_are_one(model_type: str, recipe_values: dict, tmp_path: Path, write_recipe) -> None:
    values = {**recipe_values, "model": {**recipe_values["model"]}}
    values["model"]["config"] = {**values["model"]["config"], "dropout_rate": 0.0}
    if model_type == "llama":
        values["model"]["config"] = {
            "model_type": "llama", "vocab_size": 320, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1,
        }  # fmt: skip
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
