"""A recipe as one run, or (`joint: false`) as one run per task whose figures make one row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hyperformer_cli.config.cells import part_recipes
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.results import build_results, merge_cells
from hyperformer_cli.training.loop import train


def train_recipe(recipe: Recipe, observer: Observer = SILENT) -> RunFolder:
    """Trains a recipe; see `loop.train`. Tasks that are trained alone have run folders of their own under `cells/`."""
    if recipe.joint:
        return train(recipe, observer)
    run = RunFolder(Path(recipe.output_dir))
    is_main = make_accelerator(recipe.training).is_main_process
    recipe_tasks(recipe)  # says where an unknown task is
    if run.recipe_file.is_file():
        run.claim(recipe)
    results = [train(part, observer).results() for part in part_recipes(recipe).values()]
    if is_main:
        run.claim(recipe)  # not before a task was trained: a recipe that cannot run leaves nothing behind
        run.finish(recipe, _merge(recipe, results))
    return run


def _merge(recipe: Recipe, cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row of results. Frozen backbones are counted once, fine-tuned ones once per task."""
    scores, average = merge_cells(cells, recipe.evaluation.splits)
    one = cells[0]["parameters"]
    trained = len(cells) * one["trained"]
    total = trained + (0 if recipe.adapter.method == "finetune" else one["backbone"])
    parameters = {**one, "total": total, "trained": trained, "total_ratio": round(total / one["backbone"], 6)}
    seconds = {key: sum(cell["seconds"][key] for cell in cells) for key in cells[0]["seconds"]}
    best = {task: cell["best"] for task, cell in zip(recipe.task_names, cells, strict=True)}
    details = [
        own for split in recipe.evaluation.splits for own in _collected(cells, "details") if own["split"] == split
    ]
    return build_results(
        recipe, parameters, seconds, scores, average, best,
        steps=sum(cell.get("steps", recipe.training.max_steps) for cell in cells),
        details=details, warnings=_collected(cells, "warnings"),
    )  # fmt: skip


def _collected(cells: Sequence[dict[str, Any]], key: str) -> list[Any]:
    return [item for cell in cells for item in cell.get(key, ())]  # which cells of earlier releases do not have
