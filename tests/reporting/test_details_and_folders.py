"""Reports of all runs below a folder, figures per label, validation curves and confusions."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_fewshot, write_run
from typer.testing import CliRunner

from hyperformer_cli.cli.main import app
from hyperformer_cli.reporting.collect import collect
from hyperformer_cli.reporting.figures import draw_confusions, draw_validation
from hyperformer_cli.reporting.groups import group_runs


def report(*arguments: object) -> Any:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in (1, 2):
        write_run(tmp_path / "outputs" / f"seed-{seed}", "glue_hyperpp", f"seed={seed}", values=50.0 + seed)
    write_run(tmp_path / "outputs" / "deep" / "er" / "adapters", "glue_adapters_dagger")
    cell = write_run(tmp_path / "outputs" / "sweep" / "cells" / "adapter.reduction_factor=8", "glue_hyper")
    (cell.parents[1] / "sweep.json").write_text(json.dumps({"format_version": 1, "cells": [{"cell": cell.name}]}))
    (tmp_path / "outputs" / "fewshot").mkdir()
    write_fewshot(tmp_path / "outputs" / "fewshot", {("cb", 4): [60.0, 61.0]})
    (tmp_path / "outputs" / ".hidden").mkdir()
    write_run(tmp_path / "outputs" / ".hidden" / "run", "glue_t5")
    return tmp_path / "outputs"


def test_a_folder_stands_for_the_runs_below_it(folder: Path) -> None:
    runs = [folder / "deep/er/adapters", folder / "fewshot", folder / "seed-1", folder / "seed-2", folder / "sweep"]
    assert report(folder, "--json") == report(*runs, "--json")
    found = json.loads(report(folder, "--json"))["tables"]
    assert {len(row["runs"]) for row in found[0]["rows"]} == {1, 2} and len(found[0]["rows"]) == 3


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "below").mkdir(parents=True)
    result = CliRunner().invoke(app, ["report", str(tmp_path / "empty")])
    assert result.exit_code == 2 and "none is below it" in result.stderr


def test_figures_per_label_over_the_seeds(folder: Path) -> None:
    found = json.loads(report(folder, "--details", "--json"))["tables"]
    tables = {table["title"]: table for table in found if table["table"] == "labels"}
    assert "mnli, test, per label, per cent" in tables and not any("stsb" in title for title in tables)
    rows = {row["row"]: row["cells"] for row in tables["mrpc, test, per label, per cent"]["rows"]}
    assert rows["HyperFormer++ BASE/equivalent"]["F1"]["n"] == 2
    assert rows["HyperFormer++ BASE/equivalent"]["precision"]["mean"] == pytest.approx(66.6667)
    assert "| HyperFormer++ BASE | equivalent | 66.67" in report(folder, "--details", "--format", "markdown")
    assert "labels" not in {table["table"] for table in json.loads(report(folder, "--json"))["tables"]}


def test_results_of_earlier_releases_have_no_details(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "glue_hyperpp")
    results = json.loads((run / "results.json").read_text())
    del results["details"], results["warnings"], results["steps"]
    (run / "results.json").write_text(json.dumps(results))
    report(run, "--details")


def test_validation_curves_and_confusions(folder: Path, tmp_path: Path) -> None:
    groups, _ = group_runs(collect([folder / "seed-1", folder / "seed-2"]).runs)
    figure = draw_validation(groups)
    assert figure is not None
    panels = {panel.get_title(): panel for panel in figure.axes}
    assert list(panels) == groups[0].recipe.task_names
    assert panels["cola"].get_ylabel() == "matthews_correlation (%)"
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in panels["mrpc"].lines] == [
        ([100, 300], [41.0, 41.0]), ([100, 300], [42.0, 42.0])
    ]  # fmt: skip
    confusions = draw_confusions(groups, "test")
    assert confusions is not None and draw_confusions(groups, "validation") is None
    panel = next(panel for panel in confusions.axes if panel.get_title() == "mnli")
    assert [text.get_text() for text in panel.texts] == ["20", "10", "0", "0", "20", "10", "10", "0", "20"]
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["entailment", "neutral", "contradiction"]
    report(folder, "--plots", tmp_path / "few")
    report(folder, "--plots", tmp_path / "more", "--details")
    few, more = ({file.name for file in (tmp_path / name).iterdir()} for name in ("few", "more"))
    assert "validation.png" in few and more == few | {"confusion.png"}
