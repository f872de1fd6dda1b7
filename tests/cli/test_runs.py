"""`hyperformer runs`, and `train` with a run's folder."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hyperformer_cli.cli.main import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def listed(*arguments: object) -> dict[str, dict[str, Any]]:
    result = run("runs", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return {Path(entry["run"]).name: entry for entry in json.loads(result.stdout)}


@pytest.fixture
def outputs(recipe_values: dict, write_recipe: Callable, tmp_path: Path) -> Path:
    """One run that is done, and what it looked like before it was: stopped, begun; and one that is damaged."""
    folder = tmp_path / "outputs"
    recipe = write_recipe({**recipe_values, "output_dir": str(folder / "done"), "tasks": ["cola"]})
    result = run("train", recipe)
    assert result.exit_code == 0, result.output
    for name in ("stopped", "begun", "damaged"):
        shutil.copytree(folder / "done", folder / name)
        (folder / name / "manifest.json").unlink()
    (folder / "damaged" / "results.json").write_text("{")
    for name in ("stopped", "begun"):
        (folder / name / "results.json").unlink()
    lines = (folder / "stopped" / "metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] <= 8]
    (folder / "stopped" / "metrics.jsonl").write_text("".join(kept) + '{"kind": "tra')
    shutil.rmtree(folder / "stopped" / "checkpoint-12")
    for path in (folder / "begun").iterdir():
        if path.name not in ("recipe.yaml", "environment.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (tmp_path / "outputs" / "notes").mkdir()
    shutil.copy(recipe, tmp_path / "outputs" / "notes" / "recipe.yaml")  # a recipe, no run
    return folder


def test_states_steps_and_best_scores(outputs: Path) -> None:
    found = listed(outputs)
    assert {name: (own["state"], own["step"]) for name, own in found.items()} == {
        "begun": ("begun", None), "damaged": ("damaged", None), "done": ("done", 12), "stopped": ("stopped", 6)
    }  # fmt: skip
    results = json.loads((outputs / "done" / "results.json").read_text())
    assert found["done"]["best"] == results["best"]["average"]
    lines = [json.loads(line) for line in (outputs / "done" / "metrics.jsonl").read_text().splitlines()]
    first = next(line["average"] for line in lines if line["kind"] == "evaluation")
    assert found["stopped"]["best"] == first and found["begun"]["best"] is None
    assert found["done"]["max_steps"] == 12 and found["done"]["method"] == "hyperformer++"
    text = run("runs", outputs).stdout
    assert "6 of 12" in text and f"{results['best']['average']:.2f}" in text
    assert set(listed("list", outputs, "--state", "stopped")) == {"stopped"}
    assert run("runs", outputs, "--state", "stoped").exit_code == 2


def test_a_run_at_work_is_running(outputs: Path) -> None:
    with (outputs / "stopped" / ".lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert listed(outputs)["stopped"]["state"] == "running"
    assert listed(outputs)["stopped"]["state"] == "stopped"


def test_a_stopped_run_is_continued_by_its_folder(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved"
    shutil.move(outputs / "stopped", moved)
    monkeypatch.chdir(outputs)
    result = run("train", os.path.relpath(moved))
    assert result.exit_code == 0 and "continuing after step 8" in result.stderr, result.output
    weights = [path / "last" / "hyperformer.safetensors" for path in (moved, outputs / "done")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert result.stdout.splitlines()[-1] == os.path.relpath(moved)
    again = run("train", moved)
    assert again.exit_code == 0 and "is complete; nothing to do" in again.stderr
    refused = run("train", moved, "training.learning_rate=0.1")
    assert refused.exit_code == 2 and "training.learning_rate" in refused.stderr


def test_the_end_of_training_says_what_comes_next(outputs: Path) -> None:
    said = run("train", outputs / "done").stderr
    for part in ("best     step", "of 12 (average", "took     ", "/best/", "results.json", "warnings "):
        assert part in said
    assert f"hyperformer eval {outputs / 'done'} --details" in said
    assert f"hyperformer predict {outputs / 'done'} rows.csv" in said


def test_a_folder_that_is_no_run_is_not_continued(tmp_path: Path) -> None:
    result = run("train", tmp_path)
    assert result.exit_code == 2 and "not a run folder" in result.stderr


def test_two_runs_compared(outputs: Path, write_recipe: Callable, recipe_values: dict) -> None:
    other = {**recipe_values, "output_dir": str(outputs / "other"), "tasks": ["cola", "mrpc"], "seed": 7}
    assert run("train", write_recipe(other, "other.yaml")).exit_code == 0
    found = json.loads(run("runs", "diff", outputs / "done", outputs / "other", "--json").stdout)
    assert set(found["recipe"]) == {"seed", "tasks"} and found["recipe"]["seed"] == [42, 7]
    results = {(r["task"], r["split"], r["metric"]): r for r in found["results"]}
    cola, mrpc = results["cola", "test", "matthews_correlation"], results["mrpc", "test", "f1"]
    assert cola["difference"] == pytest.approx(cola["second"] - cola["first"], abs=1e-3)
    assert mrpc["first"] is mrpc["difference"] is None and mrpc["second"] is not None
    text = run("runs", "diff", outputs / "done", outputs / "other").stdout
    assert "seed" in text and "42" in text and "B - A" in text
    assert run("runs", "diff", outputs / "done", outputs / "notes" / "x").exit_code == 2


def test_no_runs(tmp_path: Path) -> None:
    result = run("runs", tmp_path)
    assert result.exit_code == 0 and "no runs in" in result.stderr and not result.stdout
    assert run("runs", tmp_path / "nowhere").exit_code == 2
    assert run("runs", "--help").exit_code == 0
