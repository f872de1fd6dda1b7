"""Cells: the runs that one recipe stands for, each in a folder of its own under `cells/`.

The parts of a run are what holds its models. A run with one model is its own only part, under the name "". Where each
task is trained alone (`joint: false`) there is one part per task, under the task's name.
"""

from collections.abc import Mapping
from pathlib import Path

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.sections import AVERAGE


def cell_folder(folder: str | Path, values: Mapping[str, object]) -> Path:
    """Where the run of one combination of values is, such as `cells/task=cola` in the folder."""
    return Path(folder) / "cells" / ",".join(f"{key}={value}" for key, value in values.items())


def part_folders(recipe: Recipe, folder: Path) -> dict[str, Path]:
    """The folders of a run's parts, by name."""
    return {"": folder} if recipe.joint else {task: cell_folder(folder, {"task": task}) for task in recipe.task_names}


def part_recipes(recipe: Recipe) -> dict[str, Recipe]:
    """The recipes of a run's parts, by name: the recipe itself, or one recipe per task."""
    if recipe.joint:
        return {"": recipe}
    common = {**recipe.as_dict(), "joint": True, "paper": None}
    folders = part_folders(recipe, Path(recipe.output_dir))
    chosen = recipe.evaluation.chosen_metric
    parts = {}
    for (task, folder), entry in zip(folders.items(), recipe.tasks, strict=True):
        own = {**common, "name": f"{recipe.name}/{task}", "tasks": [entry], "output_dir": str(folder)}
        if chosen is not None and chosen[0] != task:  # another task's metric chooses nothing here
            own["evaluation"] = {**common["evaluation"], "metric": AVERAGE}
        samples = recipe.data.samples_per_task
        if isinstance(samples, dict):
            own["data"] = {**common["data"], "samples_per_task": {task: samples.get(task)}}
        parts[task] = build_recipe(own)
    return parts
