"""Grids: `sweep:` maps dotted keys to lists, and a recipe stands for the runs of all their combinations."""

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperformer_cli.config.loading import build_recipe, set_value
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.errors import InputError

LONGEST_TEXT = 40  # of a value in a cell's name


@dataclass(frozen=True)
class Cell:
    """One combination: its name (`adapter.reduction_factor=16,seed=1`), its values, and the recipe of its run."""

    name: str
    values: dict[str, Any]
    recipe: Recipe


def sweep_cells(recipe: Recipe) -> list[Cell]:
    """The runs a recipe stands for, the last key varying fastest.

    Raises:
        InputError: a combination is not a valid recipe (its values are named), or two would share a folder.
    """
    grid = recipe.sweep.grid
    combinations = itertools.product(*grid.values())
    cells = [_cell(recipe, dict(zip(grid, combination, strict=True))) for combination in combinations]
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{recipe.where('sweep')}: sweep: two cells would be named {name}; give values that differ"
            )
    return cells


def chosen_cells(recipe: Recipe, index: int | None) -> list[tuple[int, Cell]]:
    """The cells with their numbers from 0; only that at `index`, if given.

    Raises:
        InputError: as `sweep_cells`, or there is no such cell.
    """
    cells = list(enumerate(sweep_cells(recipe)))
    if index is None:
        return cells
    if not 0 <= index < len(cells):
        raise InputError(f"--sweep-index {index}: the sweep has cells 0 to {len(cells) - 1}")
    return [cells[index]]


def _cell(recipe: Recipe, values: dict[str, Any]) -> Cell:
    name = ",".join(f"{key}={_text(value)}" for key, value in values.items())
    plain, origins = recipe.given()
    origin = f"{recipe.where('sweep')}: cell {name}"
    own = {"sweep": None, "name": f"{recipe.name}/{name}", "output_dir": str(Path(recipe.output_dir) / "cells" / name)}
    for key, value in (own | values).items():
        set_value(plain, origins, key.split("."), value, origin)
    return Cell(name, values, build_recipe(plain, origins))


def _text(value: Any) -> str:
    """A value as part of a folder's name."""
    text = value if isinstance(value, str) else json.dumps(value, separators=("+", ":"))
    text = text.replace("/", "-")
    if len(text) > LONGEST_TEXT:  # file systems have their limits
        text = f"{text[:LONGEST_TEXT]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text
