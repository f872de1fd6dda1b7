"""Cells: the runs that one recipe stands for, each in a folder of its own under `cells/`."""

from collections.abc import Mapping
from pathlib import Path

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.config.recipe import Recipe


def cell_folder(folder: str | Path, values: Mapping[str, object]) -> Path:
    """Where the run of one combination of values is, such as `cells/task=cola` in the folder."""
    return Path(folder) / "cells" / ",".join(f"{key}={value}" for key, value in values.items())


def single_task_recipes(recipe: Recipe) -> list[Recipe]:
    """One recipe per task where each task is trained alone (`joint: false`); none where one model learns all tasks."""
    if recipe.joint:
        return []
    recipes = []
    for task, entry in zip(recipe.task_names, recipe.tasks, strict=True):
        folder = cell_folder(recipe.output_dir, {"task": task})
        own = {"joint": True, "paper": None, "name": f"{recipe.name}/{task}", "tasks": [entry]}
        recipes.append(build_recipe({**recipe.as_dict(), **own, "output_dir": str(folder)}))
    return recipes
