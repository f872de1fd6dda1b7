"""Evaluation of a finished run or of an export, from its folder alone."""

from collections.abc import Sequence
from typing import Any

from hyperformer_cli.data.loading import load_splits
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.processes import check_same, code_version, launch
from hyperformer_cli.engine.scoring import Evaluator, all_details, all_scores, averages
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.evaluation.prediction_file import prediction_records
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.runs.results import merge_cells
from hyperformer_cli.schema.section import SPLITS, SplitName
from hyperformer_cli.storage.manifest import read_manifest
from hyperformer_cli.storage.records import RecordWriter
from hyperformer_cli.tasks.metrics import check_libraries

_EVALUATED_KEYS = ("data.", "evaluation.", "training.precision")


def evaluate_run(
    run: OpenedRun,
    splits: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    observer: Observer = SILENT,
    predictions: RecordWriter | None = None,
) -> dict[str, Any]:
    """Scores a run's weights again.

    Args:
        run: opened, perhaps with overrides such as `data.source=...` or `evaluation.max_examples=64`.
        splits: by default those of its recipe.
        tasks: by default all of the model's.
        observer: is told of every evaluated batch.
        predictions: gets every answer, as in `prediction_file`; of the first process only.

    Returns:
        `results`, `average` and `details` as in `results.json`, and the run's `name` and `weights`.

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
        found.append(_evaluate_model(part, chosen, tasks, observer, predictions))
        part.unload()
    results = found[0]
    if not run.has_one_model:
        scores, average = merge_cells(found, chosen)
        details = [own for split in chosen for one in found for own in one["details"] if own["split"] == split]
        results = {"results": scores, "average": average, "details": details}
    return {"name": run.recipe.name, "weights": run.weights, **results}


def _checked_split(name: str) -> SplitName:
    for split in SPLITS:
        if name == split:
            return split
    raise InputError(f"unknown split '{name}'; {did_you_mean(name, SPLITS)}")


def _evaluate_model(
    run: OpenedRun,
    splits: Sequence[SplitName],
    tasks: Sequence[str] | None,
    observer: Observer,
    predictions: RecordWriter | None,
) -> dict[str, Any]:
    """The scores of one model on each split, their averages and details."""
    chosen = [task for name, task in run.tasks.items() if not tasks or name in tasks]
    check_libraries(metric for task in chosen for metric in task.metrics)
    accelerator = make_accelerator(run.recipe.training)
    weights = {"recipe": run.recipe.as_dict(), "weights": read_manifest(run.weights_folder)}
    check_same(accelerator, {"start": launch(), **weights, **code_version()})
    model, settings = run.model.to(accelerator.device), run.recipe.evaluation
    evaluator = Evaluator(model, run.tokenization, accelerator, settings, observer, predictions is not None)
    scores: list[dict[str, Any]] = []
    details: list[dict[str, Any]] = []
    average: dict[str, dict[str, float]] = {}
    for split in splits:
        data = load_splits(run.recipe, chosen, split, run.tokenization)
        check_same(accelerator, {"content of the data": {name: rows.fingerprint for name, rows in data.items()}})
        found = evaluator.evaluate(chosen, split, data)
        scores += [score.as_dict() for score in all_scores(found)]
        average[split] = {key: round(value, 4) for key, value in averages(all_scores(found)).items()}
        details += all_details(found)
        if predictions is not None and accelerator.is_main_process:
            for own in found:
                predictions.write(prediction_records(run, own, split, data[own.task.name]))
    return {"results": scores, "average": average, "details": details}
