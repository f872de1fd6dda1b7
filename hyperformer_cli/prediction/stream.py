"""A stream of rows in, their predictions out, one window at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from typing import Any

from hyperformer_cli.errors import InputError
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.prediction.predictor import Prediction, Predictor, make_predictor
from hyperformer_cli.prediction.requests import Request, RequestReader
from hyperformer_cli.prediction.rows import Fault, Row, RowStream
from hyperformer_cli.prediction.tally import Tally
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.tasks.task import Task

WINDOW = 16  # batches that are sorted by length, and held in memory, together


def predict_stream(
    run: OpenedRun,
    rows: RowStream,
    task: str | None = None,
    strict: bool = False,
    with_scores: bool = True,
    observer: Observer = SILENT,
    id_column: str | None = None,
    keep: bool = False,
) -> Iterator[list[Prediction]]:
    """Predicts the rows of a stream, `evaluation.batch_size` of the run's recipe at a time.

    The first window is one batch, so that the first predictions appear soon; every other has `WINDOW` batches.

    Args:
        run: answers the rows; its parts are loaded when a row first needs them.
        rows: the stream.
        task: the task of every row; by default the column `task` names it, or the run has only one.
        strict: stop at the first row that cannot be predicted.
        with_scores: whether labels get scores.
        observer: is told of every row that cannot be predicted, and at the end of their number; and how many
            predictions are right, if rows have the label's column.
        id_column: where a row's id is; by default `id`, `idx`, or its number.
        keep: whether a prediction repeats its row's columns, but not the id and the task. One that is named like a
            part of the prediction becomes `row.<name>`.

    Yields:
        The predictions of each window, in the order of the rows, without those that cannot be predicted.

    Raises:
        InputError: an unknown task; a table without the columns; with `strict` a bad row, after the predictions of
            the rows before it; no rows; only bad rows.
    """
    predictor_of = cache(partial(make_predictor, with_scores=with_scores))
    read = RequestReader(run.tasks, task, run.recipe.adapter.needs_task_prefix, id_column, keep)
    tallies = {name: Tally(own) for name, own in run.tasks.items()}
    if rows.columns is not None:
        try:
            read.check_header(rows.columns)
        except InputError as error:
            raise InputError(f"{rows.origin}: {error}") from None
    incoming, size = iter(rows), run.recipe.evaluation.batch_size
    batches, total, bad = 1, 0, 0
    while window := list(islice(incoming, batches * size)):
        batches = WINDOW
        requests: list[Request] = []
        for request in map(partial(_request, read), window):
            if isinstance(request, Request):
                total += 1
                requests.append(request)
                continue
            total += request.lines
            bad += request.lines
            complaint = f"{rows.origin}: {request.place}: {request.reason}"
            if strict:
                break
            observer.reported(f"{complaint}; skipped")
        if requests:
            predictions = _predict_window(run, predictor_of, requests)
            for asked, found in zip(requests, predictions, strict=True):
                if asked.gold is not None:
                    tallies[asked.task].add(found["prediction"], asked.gold)
            yield [_with_columns(found, asked.kept) for asked, found in zip(requests, predictions, strict=True)]
        if strict and bad:
            raise InputError(complaint)
    if not total:
        raise InputError(f"{rows.origin}: has no rows")
    if bad == total:
        raise InputError(f"{rows.origin}: nothing could be predicted from any of its {total:,} rows")
    if bad:
        observer.reported(f"{rows.origin}: {bad:,} of {total:,} rows skipped")
    for tally in tallies.values():
        if tally.rows:
            observer.reported(str(tally))


def _with_columns(prediction: Prediction, kept: Mapping[str, Any]) -> Prediction:
    return {**prediction, **{f"row.{key}" if key in prediction else key: value for key, value in kept.items()}}


def prediction_columns(tasks: Iterable[Task], with_scores: bool, first: Iterable[Prediction]) -> list[str]:
    """The columns of predictions in CSV: what the tasks' predictions hold, then what else is in the first of them."""
    tasks = list(tasks)
    labels = dict.fromkeys(name for task in tasks if task.labels for name in task.label_names)
    columns = ["id", "task", "prediction"]
    columns += ["label"] * any(not task.is_free_text for task in tasks)
    columns += ["value"] * any(task.is_regression for task in tasks)
    columns += [f"scores.{name}" for name in labels] if with_scores else []
    kept = dict.fromkeys(key for prediction in first for key in prediction if key != "scores")
    return [*columns, *(key for key in kept if key not in columns)]


def _predict_window(
    run: OpenedRun, predictor_of: Callable[[OpenedRun], Predictor], requests: Sequence[Request]
) -> list[Prediction]:
    """Predictions in the order of the requests, each by the model of its task."""
    by_part: dict[OpenedRun, list[int]] = {}
    for i, request in enumerate(requests):
        by_part.setdefault(run.part(request.task), []).append(i)
    found: dict[int, Prediction] = {}
    for part, members in by_part.items():
        found |= zip(members, predictor_of(part).predict([requests[i] for i in members]), strict=True)
    return [found[i] for i in range(len(requests))]


def _request(read: RequestReader, row: Row | Fault) -> Request | Fault:
    if isinstance(row, Fault):
        return row
    try:
        return read(row)
    except InputError as error:
        return Fault(row.line, str(error))
