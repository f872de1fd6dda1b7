"""Evaluation of a finished run or of an export, from its folder alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.config.section import SPLITS
from hyperformer_cli.data.loading import load_splits
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.scoring import Evaluator, averages
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.results import merge_cells
from hyperformer_cli.runs.trained import load_trained_run

_EVALUATED_KEYS = ("data.", "evaluation.", "training.precision")


def evaluate_run(
    folder: Path,
    splits: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    weights: str = "best",
    backbone: Path | None = None,
    observer: Observer = SILENT,
) -> dict[str, Any]:
    """Scores a run's weights again.

    Args:
        folder: the run folder, or a static or hub export of one.
        splits: by default those of its recipe.
        tasks: by default all of the model's.
        overrides: changes to its recipe, such as `data.source=...` or `evaluation.max_examples=64`.
        weights: `best` or `last`.
        backbone: a folder with the model it was trained on, where that is no longer where it was.
        observer: hears of every batch.

    Returns:
        `results` and `average` as in results.json.

    Raises:
        InputError: not a run, a task it was not trained on, or a split that does not exist.
    """
    run = RunFolder(folder)
    run.recipe()  # says what is wrong with the folder, before its recipe is read with overrides
    for override in overrides:
        if not override.startswith(_EVALUATED_KEYS):
            raise InputError(
                f"override '{override}': eval uses {', '.join(_EVALUATED_KEYS)} only; the rest is the run's"
            )
    recipe = load_recipe(run.recipe_file, overrides)
    splits, tasks = (list(dict.fromkeys(names)) if names else None for names in (splits, tasks))
    for split in splits or ():
        if split not in SPLITS:
            raise InputError(f"unknown split '{split}'; {did_you_mean(split, SPLITS)}")
    if not recipe.joint:
        return _evaluate_cells(run, recipe, splits, tasks, overrides, weights, backbone, observer)
    model, tokenizer = load_trained_run(run, weights, backbone)
    for task in tasks or ():
        model.task_id(task)
    declared = [task for task in recipe_tasks(recipe) if task.name in (tasks or model.tasks)]
    accelerator = make_accelerator(recipe.training.precision)
    evaluator = Evaluator(model.to(accelerator.device), tokenizer, accelerator, recipe.evaluation, observer)
    scores, average = [], {}
    for split in splits or recipe.evaluation.splits:
        data = load_splits(recipe, declared, split, tokenizer)
        found = evaluator.evaluate(declared, split, data)
        scores += [score.as_dict() for score in found]
        average[split] = {key: round(value, 4) for key, value in averages(found).items()}
    return {"name": recipe.name, "weights": weights, "results": scores, "average": average}


def _evaluate_cells(
    run: RunFolder, recipe: Recipe, splits: Sequence[str] | None, tasks: Sequence[str] | None, *settings: Any
) -> dict[str, Any]:
    """The same for tasks that were trained each alone."""
    for task in tasks or ():
        if task not in recipe.task_names:
            raise InputError(f"the run has no task '{task}'; {did_you_mean(task, recipe.task_names)}")
    cells = [evaluate_run(run.cell(task=task).path, splits, [task], *settings) for task in tasks or recipe.task_names]
    scores, average = merge_cells(cells, splits or recipe.evaluation.splits)
    return {"name": recipe.name, "weights": cells[0]["weights"], "results": scores, "average": average}
