"""Runs of a grid, one after the other or one a job of an array; finished ones are skipped."""

import json
import statistics
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.sweep import Cell, chosen_cells, sweep_cells
from hyperformer_cli.errors import HyperformerError
from hyperformer_cli.observer import Observer
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.training.stopping import Stopped
from hyperformer_cli.training.train_recipe import train_recipe

FORMAT_VERSION = 1


def train_sweep(
    recipe: Recipe,
    observer: Observer | None = None,
    index: int | None = None,
    is_main: bool = True,
    report: Callable[[str], None] = lambda line: None,
) -> Path:
    """Trains the cells of a recipe's grid.

    Args:
        recipe: with `sweep`.
        observer: of every run.
        index: only this cell, from 0; for job arrays.
        is_main: whether this process writes `sweep.json`.
        report: called with a line before each cell, and with what made one fail.

    Returns:
        The folder of the cell where `index` is given, else of the sweep, with `sweep.json`.

    Raises:
        InputError: an index out of range, or a combination that is no recipe; nothing has been trained.
        HyperformerError: at least one cell failed; the others are done.
        Stopped: by a signal, after saving the cell that ran.
    """
    cells, chosen = sweep_cells(recipe), [cell for _, cell in chosen_cells(recipe, index)]
    failed = []
    for number, cell in enumerate(chosen, 1):
        report(f"cell {number} of {len(chosen)}: {cell.name}")
        try:
            train_recipe(cell.recipe, observer)
        except Stopped:
            raise
        except Exception as error:  # whatever it was, the other cells must not be lost
            failed.append(cell.name)
            report(str(error) if isinstance(error, HyperformerError) else traceback.format_exc())
        if is_main:
            _write_summary(recipe, cells)
    if failed:
        raise HyperformerError(f"{len(failed)} of {len(chosen)} cells failed: {'; '.join(failed)}")
    return Path(recipe.output_dir) if index is None else Path(chosen[0].recipe.output_dir)


def _write_summary(recipe: Recipe, cells: Sequence[Cell]) -> None:
    """Writes `sweep.json`, again for as long as other jobs of an array end cells meanwhile.

    Whichever job writes last has looked after writing, so no finished cell is missing.
    """
    written = None
    while written != (done := sum(_is_done(cell) for cell in cells)):
        write_json(Path(recipe.output_dir) / "sweep.json", summarise(recipe, cells))
        written = done


def summarise(recipe: Recipe, cells: Sequence[Cell]) -> dict[str, Any]:
    """Every cell with its averages, as far as it is done; and, once all are, the cells of the selected setting.

    A setting is what a cell's values are but for the seed: of a grid over seeds the best mean is selected, with all
    its cells, and not the luckiest seed.
    """
    rows = []
    for cell in cells:
        results = RunFolder(Path(cell.recipe.output_dir)).results_file
        average = json.loads(results.read_text(encoding="utf-8"))["average"] if _is_done(cell) else None
        rows.append({"cell": cell.name, "values": cell.values, "done": average is not None, "average": average})
    selected = None
    if recipe.sweep.select and all(row["done"] for row in rows):
        settings: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            setting = {key: value for key, value in row["values"].items() if key != "seed"}
            settings.setdefault(json.dumps(setting), []).append(row)
        best = max(settings.values(), key=lambda own: _mean(own, recipe.sweep.select))
        selected = [row["cell"] for row in best]
    return {"format_version": FORMAT_VERSION, "name": recipe.name, "cells": rows, "selected": selected}


def _is_done(cell: Cell) -> bool:
    run = RunFolder(Path(cell.recipe.output_dir))
    return run.is_complete() and run.is_of(cell.recipe)


def _mean(rows: Sequence[dict[str, Any]], split: str) -> float:
    return statistics.fmean(row["average"][split]["metrics"] for row in rows)
