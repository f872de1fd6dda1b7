"""`hyperformer report` on runs that were trained here, and on what it must refuse."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.training.sweep import train_sweep
from hyperformer_cli.training.train_recipe import train_recipe


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def trained(recipe_values: dict[str, Any]) -> Path:
    """A finished run of two steps."""
    training = {**recipe_values["training"], "max_steps": 2}
    values = {**recipe_values, "tasks": ["cola", "mrpc"], "training": training}
    return train_recipe(build_recipe(values)).path


def test_a_sweep_is_a_row_and_single_tasks_another(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    recipe_values |= {"tasks": ["cola", "mrpc"]}
    recipe_values["training"] |= {"max_steps": 2, "log_every": 1}
    sweep = train_sweep(build_recipe({**recipe_values, "sweep": {"seed": [1, 2]}}))
    alone = {**recipe_values, "joint": False, "name": "alone", "output_dir": str(tmp_path / "alone")}
    single = train_recipe(build_recipe(alone)).path
    result = run("report", sweep, single, "--json", "--embeddings", "--plots", tmp_path / "figures")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["missing"] == [] and [table["table"] for table in shown["tables"]] == ["glue", "parameters"]
    rows = {row["row"]: row for row in shown["tables"][0]["rows"]}
    results = [json.loads((sweep / "cells" / f"seed={seed}" / "results.json").read_text()) for seed in (1, 2)]
    averages = [own["average"]["test"] for own in results]
    for kind in ("metrics", "tasks"):
        values = [own[kind] for own in averages]
        cell = rows["tiny"]["cells"][f"average/mean of {kind}"]
        assert (cell["mean"], cell["n"]) == (pytest.approx(np.mean(values), abs=1e-3), 2)
        assert cell["std"] == pytest.approx(np.std(values, ddof=1), abs=1e-3)
    assert rows["alone"]["runs"] == [str(single)] and rows["alone"]["cells"]["cola/matthews_correlation"]["n"] == 1
    assert [task["task"] for task in shown["embeddings"][0]["tasks"]] == ["cola", "mrpc"]
    assert {Path(path).name for path in shown["plots"]} == {"training.png", "validation.png", "embeddings.png"}

    same = run("report", sweep, single, "--format", "json", "--embeddings", "--plots", tmp_path / "figures")
    assert same.stdout == result.stdout
    text = run("report", sweep, single, "--plots", tmp_path / "figures")
    assert "mean of metrics" in text.stdout and "mean of tasks" in text.stdout
    assert text.stdout.splitlines()[-1] == str(tmp_path / "figures" / "embeddings.png")
    table = run("report", sweep, "--format", "csv", "--plots", tmp_path / "figures")
    assert "training.png" in table.stderr and "training.png" not in table.stdout


def test_unfinished_runs_are_named_and_the_rest_is_reported(trained: Path, tmp_path: Path) -> None:
    unfinished = shutil.copytree(trained, tmp_path / "unfinished")
    (unfinished / "results.json").unlink()
    cells = [{"cell": "seed=1"}, {"cell": "seed=2"}]
    (tmp_path / "sweep.json").write_text(json.dumps({"format_version": 1, "name": "s", "cells": cells}))
    shutil.copytree(trained, tmp_path / "cells" / "seed=1")
    shutil.copytree(trained, tmp_path / "begun" / "cells" / "task=cola")
    result = run("report", tmp_path, unfinished, tmp_path / "begun", "--json")
    assert result.exit_code == 0, result.output
    missing = [str(tmp_path / "cells" / "seed=2"), str(unfinished), str(tmp_path / "begun")]
    assert json.loads(result.stdout)["missing"] == missing
    assert all(f"{folder}: not finished" in result.stderr for folder in missing)

    nothing = run("report", unfinished)
    assert (nothing.exit_code, nothing.stdout) == (2, "") and "no finished run" in nothing.stderr


def test_the_same_seed_twice_is_left_out_aloud(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    result = run("report", trained, trained, copy, "--json")
    (row,) = json.loads(result.stdout)["tables"][0]["rows"]
    assert row["runs"] == [str(trained)] and f"{copy}: the same recipe and seed" in result.stderr


def _set(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps({**content, **changes}))

    return change


def _cut(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text((folder / name).read_text()[:40])

    return change


SCORE = {"task": "cola", "split": "test", "metric": "accuracy", "value": "high"}
FAULTS: list[tuple[Callable[[Path], None], list[str]]] = [
    (_set("results.json", format_version=2), ["results.json", "format version 2", "reads 1"]),
    (_set("results.json", results=[SCORE]), ["results.json", "damaged: results.0.value", "valid number"]),
    (_set("results.json", results=[{**SCORE, "value": float("nan")}]), ["damaged: results.0.value", "finite number"]),
    (_set("results.json", results=[{"task": "cola"}]), ["damaged: results.0.split: Field required"]),
    (_set("results.json", results=3), ["results.json", "damaged"]),
    (_set("results.json", parameters={}), ["damaged: parameters.total_ratio: Field required"]),
    (_cut("results.json"), ["results.json", "damaged"]),
    (lambda folder: (folder / "results.json").write_bytes(b"\xff\xfe"), ["results.json", "damaged"]),
    (lambda folder: (folder / "results.json").write_text("[]"), ["results.json", "damaged: Input should be an object"]),
    (lambda folder: (folder / "recipe.yaml").write_text("name: [\n"), ["recipe.yaml", "not valid YAML"]),
    (_set("fewshot.json", format_version=3), ["fewshot.json", "format version 3"]),
    (_set("fewshot.json", format_version=1), ["fewshot.json", "damaged: name: Field required"]),
    (_set("sweep.json", format_version=7), ["sweep.json", "format version 7"]),
    (_set("sweep.json", format_version=1, cells=[{}]), ["sweep.json", "damaged"]),
    (lambda folder: (folder / "recipe.yaml").unlink(), ["not a run folder", "no recipe.yaml"]),
]  # fmt: skip


def test_faults_of_a_run_end_with_a_short_message(trained: Path, tmp_path: Path) -> None:
    for number, (fault, parts) in enumerate(FAULTS):
        folder = shutil.copytree(trained, tmp_path / f"faulty-{number}")
        fault(folder)
        _check_refused(run("report", trained, folder, "--plots", tmp_path / "figures"), parts)
    assert not (tmp_path / "figures").exists()


def test_wrong_options_end_with_a_short_message(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = tmp_path / "figures"
    for arguments, parts in (
        ([tmp_path / "nowhere"], ["nowhere", "no such folder"]),
        ([trained / "best"], ["not a run folder"]),
        ([trained, "--format", "markdwon"], ["'markdown'"]),
        ([trained, "--format", "csv", "--json"], ["--json", "csv"]),
        ([trained, "--split", "tset"], ["'test'"]),
        ([trained, "--split", "train"], ["split 'train'", "test, validation"]),
        ([trained, "--plots", figures, "--plot-format", "pdf"], ["'pdf' is not one of 'png'"]),
        ([trained, "--plots", tmp_path / "curve.png"], ["curve.png", "name a folder"]),
        ([trained, "--plots", trained / "recipe.yaml"], ["name a folder"]),
        ([trained, "--embeddings", "--format", "latex"], ["--embeddings"]),
        ([], ["RUN"]),
    ):
        _check_refused(run("report", *arguments), parts)
    shutil.rmtree(trained / "best")
    _check_refused(run("report", trained, "--embeddings"), ["no run has task embeddings"])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    _check_refused(run("report", trained, "--plots", figures), ["pip install 'hyperformer[plots]'"])
    assert not figures.exists() and not (tmp_path / "curve.png").exists()


def _check_refused(result: Result, parts: list[str]) -> None:
    assert result.exit_code == 2, (result.output, result.exception)
    assert "Traceback" not in result.output and result.stdout == "" and len(result.stderr.splitlines()) < 20
    for part in parts:
        assert part in result.stderr, result.stderr


def test_help_shows_examples() -> None:
    shown = run("report", "--help")
    assert shown.exit_code == 0 and "--plots" in shown.stdout and "hyperformer report outputs/" in shown.stdout


def test_tables_are_made_without_torch_and_matplotlib(trained: Path) -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from hyperformer_cli.cli.main import app;"
        f"result = CliRunner().invoke(app, ['report', {str(trained)!r}]); assert result.exit_code == 0, result.output;"
        "print(*(m for m in sys.modules if '.' not in m))"
    )
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.split()
    assert modules and not {"torch", "sklearn", "matplotlib", "numpy", "transformers", "datasets"} & set(modules)
