"""Runs of a grid, one after the other or one per job of an array; finished ones are skipped."""

import json
import statistics
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.sweep import SweepPoint, chosen_points, sweep_points
from hyperformer_cli.errors import HyperformerError
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.runs.folder import FolderInUse, RunFolder
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.training.stopping import Stopped
from hyperformer_cli.training.train_recipe import train_recipe

FORMAT_VERSION = 1


def train_sweep(recipe: Recipe, observer: Observer = SILENT, index: int | None = None, is_main: bool = True) -> Path:
    """Trains the cells of a recipe's grid.

    Args:
        recipe: with `sweep`.
        observer: of every run; is told which cell begins, and why one failed.
        index: only this cell, from 0; for job arrays.
        is_main: whether this process writes `sweep.json`.

    Returns:
        The folder of the cell where `index` is given, else of the sweep, with `sweep.json`.

    Raises:
        InputError: an index out of range, or a combination that is no recipe; nothing has been trained.
        HyperformerError: at least one cell failed; the others are done.
        Stopped: by a signal, after saving the cell that ran.
    """
    points, chosen = sweep_points(recipe), list(chosen_points(recipe, index).values())
    failed: list[str] = []
    waiting = [
        (f"cell {number} of {len(chosen)}: {point.name}", point, False) for number, point in enumerate(chosen, 1)
    ]
    for cell, point, last_chance in waiting:  # which grows
        observer.reported(cell)
        try:
            _train_when_free(point, observer, is_main) if last_chance else train_recipe(point.recipe, observer)
        except Stopped:
            raise
        except FolderInUse as error:  # by another start of this sweep, which may finish it
            observer.reported(f"{error}; comes last")
            waiting.append((cell, point, True))
        except Exception as error:  # whatever it was, the other cells must not be lost
            if PartialState().num_processes > 1 and not isinstance(error, HyperformerError):
                raise  # perhaps in this process only, while the others wait for it
            failed.append(point.name)
            observer.reported(str(error) if isinstance(error, HyperformerError) else traceback.format_exc())
        if is_main:
            _write_summary(recipe, points)
    if failed:
        raise HyperformerError(f"{len(failed)} of {len(chosen)} cells failed: {'; '.join(failed)}")
    return Path(recipe.output_dir) if index is None else Path(chosen[0].recipe.output_dir)


def _train_when_free(point: SweepPoint, observer: Observer, is_main: bool) -> None:
    """Trains a cell as soon as no other process does; there may then be nothing left to do."""
    while True:
        try:
            train_recipe(point.recipe, observer)
            return
        except FolderInUse as error:
            observer.reported(f"{error}; waiting for it")
            if is_main:  # the others wait for this process
                error.folder.wait_until_free()


def _write_summary(recipe: Recipe, points: Sequence[SweepPoint]) -> None:
    """Writes `sweep.json`, and again if other jobs of an array have finished cells meanwhile.

    Whichever job writes last looks once more after writing, so no finished cell is missing.
    """
    written = None
    while written != (summary := summarise(recipe, points)):
        write_json(Path(recipe.output_dir) / "sweep.json", summary)
        written = summary


def summarise(recipe: Recipe, points: Sequence[SweepPoint]) -> dict[str, Any]:
    """Every cell, with its averages if it is done; and, once all are, the cells of the selected setting.

    A setting is a cell's values without the seed: in a grid over seeds the setting with the best mean is selected, with
    all its cells, and not the luckiest seed.
    """
    rows: list[dict[str, Any]] = []
    for point in points:
        run = RunFolder(Path(point.recipe.output_dir))
        done = run.is_complete() and run.is_of(point.recipe)
        average = run.results()["average"] if done else None
        rows.append({"cell": point.name, "values": point.values, "done": done, "average": average})
    selected = None
    select = recipe.sweep and recipe.sweep.select
    if select and all(row["done"] for row in rows):
        settings: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            setting = {key: value for key, value in row["values"].items() if key != "seed"}
            settings.setdefault(json.dumps(setting), []).append(row)
        best = max(
            settings.values(), key=lambda own: statistics.fmean(row["average"][select]["metrics"] for row in own)
        )
        selected = [row["cell"] for row in best]
    return {"format_version": FORMAT_VERSION, "name": recipe.name, "cells": rows, "selected": selected}
