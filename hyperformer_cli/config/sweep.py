"""Grids: `sweep:` maps dotted keys to lists, and a recipe stands for the runs of all their combinations."""

import hashlib
import itertools
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hyperformer_cli.config.cells import cell_folder
from hyperformer_cli.config.loading import build_recipe, set_value
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.errors import InputError

LONGEST_TEXT = 40  # of a value in a folder's name


@dataclass(frozen=True)
class SweepPoint:
    """One combination: its name (`adapter.reduction_factor=16,seed=1`), its values, and the recipe of its run."""

    name: str
    values: dict[str, Any]
    recipe: Recipe


def sweep_points(recipe: Recipe) -> list[SweepPoint]:
    """The combinations of a recipe's grid, the last key varying fastest; none where it has no grid.

    Raises:
        InputError: a combination is not a valid recipe (its values are named), or two would share a folder.
    """
    if recipe.sweep is None:
        return []
    grid = recipe.sweep.grid
    points = [_point(recipe, dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())]
    for name, count in Counter(point.name for point in points).items():
        if count > 1:
            at = recipe.where("sweep")
            raise InputError(f"{at}: sweep: two cells would be named {name}; give values that differ")
    return points


def chosen_points(recipe: Recipe, index: int | None) -> dict[int, SweepPoint]:
    """The combinations by number, from 0; only that at `index`, if given.

    Raises:
        InputError: as `sweep_points`, or there is no such combination.
    """
    points = dict(enumerate(sweep_points(recipe)))
    if index is None:
        return points
    if index not in points:
        raise InputError(f"--sweep-index {index}: the sweep has cells 0 to {len(points) - 1}")
    return {index: points[index]}


def _point(recipe: Recipe, values: dict[str, Any]) -> SweepPoint:
    folder = cell_folder(recipe.output_dir, {key: _text(value) for key, value in values.items()})
    plain, origins = recipe.given()
    own = {"sweep": None, "name": f"{recipe.name}/{folder.name}", "output_dir": str(folder)}
    for key, value in (own | values).items():
        set_value(plain, origins, key.split("."), value, f"{recipe.where('sweep')}: cell {folder.name}")
    return SweepPoint(folder.name, values, build_recipe(plain, origins))


def _text(value: Any) -> str:
    """A value as part of a folder's name."""
    text = value if isinstance(value, str) else json.dumps(value, separators=("+", ":"))
    text = text.replace("/", "-")
    if len(text) > LONGEST_TEXT:  # file systems have their limits
        text = f"{text[:LONGEST_TEXT]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return text
