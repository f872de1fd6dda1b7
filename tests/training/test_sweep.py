"""Sweeps: cells in order, finished ones skipped, a failed one loses no other."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.config.sweep import sweep_points
from hyperformer_cli.data.examined import examine_rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.observer import Observer
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.training.sweep import summarise, train_sweep
from hyperformer_cli.training.train_recipe import train_recipe


@pytest.fixture
def grid_values(recipe_values: dict) -> dict:
    return {
        **recipe_values,
        "tasks": ["cola", "mrpc"],
        "training": {**recipe_values["training"], "max_steps": 2},
        "sweep": {"select": "validation", "adapter.reduction_factor": [4, 8], "seed": [1, 2]},
    }


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_cells_are_the_grid_in_order(grid_values: dict) -> None:
    cells = sweep_points(build_recipe(grid_values))
    assert [cell.name for cell in cells] == [
        f"adapter.reduction_factor={r},seed={seed}" for r in (4, 8) for seed in (1, 2)
    ]
    assert [(c.recipe.adapter.reduction_factor, c.recipe.seed) for c in cells] == [(4, 1), (4, 2), (8, 1), (8, 2)]
    assert cells[2].recipe.output_dir.endswith("/cells/adapter.reduction_factor=8,seed=1")


def test_a_sweep_over_methods_fills_in_each_methods_own_defaults(grid_values: dict) -> None:
    grid_values["adapter"] = {"method": "hyperformer++", "reduction_factor": 4}
    grid_values["sweep"] = {"adapter.method": ["adapters", "hyperformer", "hyperformer++"]}
    found = [cell.recipe.adapter.task_embedding_dim for cell in sweep_points(build_recipe(grid_values))]
    assert found == [None, 512, 64]


@pytest.mark.parametrize(
    ("sweep", "complaint"),
    [
        ({}, "at least one dotted key"),
        ({"seed": 3}, r"sweep\.seed: found 3, should be a list"),
        ({"seed": []}, r"sweep\.seed: .*at least 1 item"),
        ({"seed": [1, 1]}, r"sweep\.seed: duplicate value 1"),
        ({"name": ["a", "b"]}, "cannot be swept"),
        ({"seed": [1], "select": "test"}, "validation"),
        ({"adapter.reduction_factr": [4]}, "did you mean 'reduction_factor'"),
        ({"training.max_steps": [1, "many"]}, "cell training.max_steps=many.*'many'"),
        ({"seed.first": [1]}, "'seed' is a value"),
        ({"seed": [1, 2], "select": "validation"}, "chooses between settings"),
        ({"data": [{"source": "a"}], "data.source": ["b"]}, "data: another key lies within it"),
        ({"data.source": ["data/v1", "data-v1"]}, "two cells would be named data.source=data-v1"),
    ],
)
def test_grids_that_are_wrong(sweep: dict, complaint: str, grid_values: dict) -> None:
    with pytest.raises(InputError, match=complaint):
        sweep_points(build_recipe({**grid_values, "seed": 1, "sweep": sweep}))


def test_selecting_needs_the_split_it_selects_on(grid_values: dict) -> None:
    grid_values["evaluation"]["splits"] = ["test"]
    with pytest.raises(InputError, match=r"validation is not one of evaluation\.splits"):
        build_recipe(grid_values)


def test_a_long_value_still_makes_a_folders_name(grid_values: dict) -> None:
    grid_values["sweep"] = {"tasks": [["cola"], ["cola", "mrpc", "stsb", "mnli"], [letter * 90 for letter in "xyz"]]}
    names = [cell.name for cell in sweep_points(build_recipe(grid_values))]
    assert len(set(names)) == 3 and max(map(len, names)) < 80


def test_validating_looks_into_cells_and_targets(grid_values: dict, write_recipe: Callable) -> None:
    for changes in ({"sweep": {"tasks": [["cola"], ["colla"]]}}, {"fewshot": {"target_tasks": ["pawz"]}}):
        refused = run("recipes", "validate", write_recipe({**grid_values, **changes}))
        assert refused.exit_code == 2 and "did you mean" in refused.stderr
    refused = run("recipes", "validate", write_recipe({**grid_values, "sweep": {"adapter.reduction_facto": [1]}}))
    assert refused.exit_code == 2 and "reduction_factor" in refused.stderr


def test_the_dry_run_of_a_sweep_reports_on_the_data_once(
    grid_values: dict, write_recipe: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def counted(task: Any, *rest: Any) -> Any:
        made.append(task.name)
        return examine_rows(task, *rest)

    monkeypatch.setattr("hyperformer_cli.data.report.examine_rows", counted)
    tasks = grid_values["tasks"]
    cells = json.loads(run("train", write_recipe(grid_values), "--dry-run", "--json").stdout)["cells"]
    single = {key: value for key, value in grid_values.items() if key != "sweep"}
    alone = json.loads(run("train", write_recipe(single, "single.yaml"), "--dry-run", "--json").stdout)
    assert made == 2 * [task for task in tasks for _ in ("train", "validation")]  # not for every cell
    assert [cell["data"] for cell in cells] == 4 * [alone["data"]] and list(alone["data"]) == tasks
    grid_values["sweep"] = {"data.samples_per_task": [4, 8], "seed": [1, 2]}
    cells = json.loads(run("train", write_recipe(grid_values), "--dry-run", "--json").stdout)["cells"]
    assert [cell["data"]["cola"]["splits"]["train"]["rows"] for cell in cells] == [4, 4, 8, 8]
    assert cells[0]["data"] != cells[1]["data"] and made[8:] == made[4:8]
    grid_values["sweep"] = {"adapter.reduction_factor": [4, 8], "seed": [1, 2]}

    shown = run("train", write_recipe(grid_values), "--dry-run").stdout
    assert shown.count("inputs in tokens, of which 32 may be used") == 1 and "data of cells" not in shown
    grid_values["sweep"] = {"data.max_source_length": [8, 32], "seed": [1, 2]}
    shown = run("train", write_recipe(grid_values), "--dry-run").stdout
    short, long = shown.split("data of cells 0, 1")[1].split("data of cells 2, 3")
    assert "of which 8 may be used" in short and "inputs are cut at data.max_source_length (8 tokens)" in short
    assert "of which 32 may be used" in long and "inputs are cut" not in long


def test_a_sweep_from_the_command_line(grid_values: dict, write_recipe: Callable, tmp_path: Path) -> None:
    recipe = write_recipe(grid_values)
    assert run("train", recipe, "--sweep-count").stdout == "4\n"
    assert len(json.loads(run("train", recipe, "--dry-run", "--json").stdout)["cells"]) == 4
    third = json.loads(run("train", recipe, "--dry-run", "--json", "--sweep-index", 2).stdout)["cells"]
    assert [cell["cell"] for cell in third] == ["adapter.reduction_factor=8,seed=1"]
    assert "cell 2: " in run("train", recipe, "--dry-run", "--sweep-index", 2).stdout
    assert run("train", recipe, "--dry-run", "--sweep-index", 4).exit_code == 2
    assert not (tmp_path / "run").exists()

    one = run("train", recipe, "--sweep-index", 2)
    assert one.stdout.strip().endswith("cells/adapter.reduction_factor=8,seed=1")
    finished = tmp_path / "run" / "cells" / "adapter.reduction_factor=8,seed=1" / "results.json"
    before = finished.stat().st_mtime_ns

    swept = json.loads(run("train", recipe, "--json").stdout)
    assert finished.stat().st_mtime_ns == before
    assert [cell["done"] for cell in swept["cells"]] == [True] * 4
    average = {cell["cell"]: cell["average"]["validation"]["metrics"] for cell in swept["cells"]}
    settings = [[f"adapter.reduction_factor={r},seed={seed}" for seed in (1, 2)] for r in (4, 8)]
    assert swept["selected"] == max(settings, key=lambda own: average[own[0]] + average[own[1]])
    assert "selected" in run("train", recipe).stdout
    assert run("train", recipe, "--sweep-index", 4).exit_code == 2
    assert run("train", recipe, "sweep=null", "--sweep-index", 0).exit_code == 2


def test_the_best_setting_is_selected_and_not_the_luckiest_seed(
    grid_values: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = build_recipe(grid_values)
    cells = sweep_points(recipe)
    for cell, average in zip(cells, (80, 80, 90, 50), strict=True):
        folder = RunFolder(Path(cell.recipe.output_dir))
        folder.claim(cell.recipe)
        write_json(folder.results_file, {"results": [], "average": {"validation": {"metrics": average}}})
    assert summarise(recipe, cells)["selected"] == [cell.name for cell in cells[:2]]

    longer = build_recipe({**grid_values, "training": {**grid_values["training"], "max_steps": 3}})
    summary = summarise(longer, sweep_points(longer))  # the folders hold runs of another recipe
    assert not any(cell["done"] for cell in summary["cells"]) and summary["selected"] is None


def test_two_jobs_of_an_array_that_end_together(grid_values: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = build_recipe(grid_values)
    train_sweep(recipe, index=0)

    def another_job_ends_meanwhile(path: Path, summary: dict) -> None:
        monkeypatch.undo()
        train_sweep(recipe, index=2)
        write_json(path, summary)

    monkeypatch.setattr("hyperformer_cli.training.sweep.write_json", another_job_ends_meanwhile)
    train_sweep(recipe, index=1)
    summary = json.loads((Path(recipe.output_dir) / "sweep.json").read_text())
    assert [cell["done"] for cell in summary["cells"]] == [True, True, True, False]


def test_a_failed_cell_loses_no_other(grid_values: dict, write_recipe: Callable, tmp_path: Path) -> None:
    grid_values["sweep"] = {"adapter.reduction_factor": [64, 4]}  # 64 leaves no bottleneck
    result = run("train", write_recipe(grid_values))
    assert result.exit_code == 1
    assert "1 of 2 cells failed: adapter.reduction_factor=64" in result.stderr and "no bottleneck" in result.stderr
    summary = json.loads((tmp_path / "run" / "sweep.json").read_text())
    assert [cell["done"] for cell in summary["cells"]] == [False, True]


def test_two_sweeps_on_one_folder_both_end_well(grid_values: dict) -> None:
    """The first cell is in use when this sweep comes to it, and done by the time it has done the others."""
    recipe = build_recipe({**grid_values, "sweep": {"seed": [1, 2]}})
    first, _ = sweep_points(recipe)
    in_use, lines = RunFolder(Path(first.recipe.output_dir)).lock(), []

    class OtherSweep(Observer):
        def reported(self, line: str) -> None:
            lines.append(line)
            if "waiting for it" in line:
                in_use.__exit__(None, None, None)
                train_recipe(first.recipe)

    in_use.__enter__()
    assert train_sweep(recipe, OtherSweep()) == Path(recipe.output_dir)
    summary = json.loads((Path(recipe.output_dir) / "sweep.json").read_text())
    assert [cell["done"] for cell in summary["cells"]] == [True, True]
    assert lines[0].startswith("cell 1 of 2") and "in use by another process" in lines[1]
    assert lines[-1] == f"{first.recipe.output_dir} is complete; nothing to do"


def test_separate_tasks_in_a_sweep(grid_values: dict) -> None:
    grid_values |= {"joint": False, "sweep": {"seed": [1, 2]}}
    folder = train_sweep(build_recipe(grid_values))
    assert len(list(folder.glob("cells/seed=*/cells/task=*/results.json"))) == 4
    assert len(list(folder.glob("cells/seed=*/results.json"))) == 2


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_runs_what_is_missing(
    grid_values: dict, write_recipe: Callable, tmp_path: Path
) -> None:
    """What was done stays untouched; the rest, and the report over all of it, are as if nothing had happened."""
    grid_values["training"] |= {"max_steps": 40, "save_every": 5}
    grid_values["sweep"] = {"seed": [1, 2, 3]}
    recipe = write_recipe(grid_values)

    def command(*arguments: object) -> list[str]:
        return [sys.executable, "-m", "hyperformer_cli", *map(str, arguments)]

    def cell(sweep: str, seed: int) -> Path:
        return tmp_path / sweep / "cells" / f"seed={seed}"

    def results(sweep: str) -> list[dict]:
        found = [json.loads((cell(sweep, seed) / "results.json").read_text()) for seed in (1, 2, 3)]
        return [{key: value for key, value in result.items() if key != "seconds"} for result in found]

    whole = subprocess.run(command("train", recipe, f"output_dir={tmp_path / 'whole'}"), capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr

    process = subprocess.Popen(command("train", recipe, f"output_dir={tmp_path / 'cut'}"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(cell("cut", 2).glob("checkpoint-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert (cell("cut", 1) / "results.json").is_file() and not (cell("cut", 3)).exists()
    assert not (cell("cut", 2) / "results.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in cell("cut", 1).rglob("*")}

    unfinished = subprocess.run(command("report", tmp_path / "cut"), capture_output=True, text=True)
    assert unfinished.returncode == 0 and "seed=2: not finished" in unfinished.stderr
    again = subprocess.run(command("train", recipe, f"output_dir={tmp_path / 'cut'}"), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "is complete; nothing to do" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in cell("cut", 1).rglob("*")} == finished
    assert results("cut") == results("whole")
    reports = [
        subprocess.run(command("report", tmp_path / name), capture_output=True).stdout for name in ("cut", "whole")
    ]
    assert reports[0] == reports[1] and b"(3)" in reports[0]
