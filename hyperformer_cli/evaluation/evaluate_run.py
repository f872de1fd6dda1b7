"""Evaluation of a finished run or of an export, from its folder alone."""

from collections.abc import Sequence
from typing import Any

from hyperformer_cli.data.loading import load_splits
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.scoring import Evaluator, averages
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.runs.results import merge_cells
from hyperformer_cli.schema.section import SPLITS, SplitName

_EVALUATED_KEYS = ("data.", "evaluation.", "training.precision")


def evaluate_run(
    run: OpenedRun,
    splits: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    observer: Observer = SILENT,
) -> dict[str, Any]:
    """Scores a run's weights again.

    Args:
        run: opened, perhaps with overrides such as `data.source=...` or `evaluation.max_examples=64`.
        splits: by default those of its recipe.
        tasks: by default all of the model's.
        observer: is told of every evaluated batch.

    Returns:
        `results` and `average` as in `results.json`, and the run's `name` and `weights`.

    Raises:
        InputError: the run was not trained on a task, or a split or an override is not valid.
    """
    for override in run.overrides:
        if not override.startswith(_EVALUATED_KEYS):
            raise InputError(
                f"override '{override}': eval uses {', '.join(_EVALUATED_KEYS)} only; the rest is the run's"
            )
    chosen = list(dict.fromkeys(map(_checked_split, splits or run.recipe.evaluation.splits)))
    found = []
    for part in run.parts(tasks or None).values():
        found.append(_evaluate_model(part, chosen, tasks, observer))
        part.unload()
    scores, average = found[0]
    if not run.has_one_model:
        scores, average = merge_cells([{"results": scores} for scores, _ in found], chosen)
    return {"name": run.recipe.name, "weights": run.weights, "results": scores, "average": average}


def _checked_split(name: str) -> SplitName:
    for split in SPLITS:
        if name == split:
            return split
    raise InputError(f"unknown split '{name}'; {did_you_mean(name, SPLITS)}")


def _evaluate_model(
    run: OpenedRun, splits: Sequence[SplitName], tasks: Sequence[str] | None, observer: Observer
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """The scores of one model on each split, and their averages."""
    chosen = [task for name, task in run.tasks.items() if not tasks or name in tasks]
    accelerator = make_accelerator(run.recipe.training.precision)
    model = run.model.to(accelerator.device)
    evaluator = Evaluator(model, run.tokenization, accelerator, run.recipe.evaluation, observer)
    scores: list[dict[str, Any]] = []
    average: dict[str, dict[str, float]] = {}
    for split in splits:
        data = load_splits(run.recipe, chosen, split, run.tokenization)
        found = evaluator.evaluate(chosen, split, data)
        scores += [score.as_dict() for score in found]
        average[split] = {key: round(value, 4) for key, value in averages(found).items()}
    return scores, average
