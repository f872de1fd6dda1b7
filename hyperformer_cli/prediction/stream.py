"""A stream of rows in, their predictions out, a window at a time."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from hyperformer_cli.errors import InputError
from hyperformer_cli.prediction.predictor import Prediction, Predictor
from hyperformer_cli.prediction.requests import Request, RequestReader
from hyperformer_cli.prediction.rows import Fault, Row, RowStream
from hyperformer_cli.prediction.run import TrainedRun

WINDOW = 16  # batches: what is sorted by length, and held in memory


def predict_stream(
    run: TrainedRun,
    rows: RowStream,
    task: str | None = None,
    strict: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[list[Prediction]]:
    """Predicts the rows of a stream.

    The first window is one batch, so that a reader soon sees whether this is what was wanted; the others are `WINDOW`.

    Args:
        run: what predicts.
        rows: the stream.
        task: of every row; by default the column `task` tells, or the run has only one.
        strict: stop at the first row from which nothing can be predicted.
        report: called with a line for each such row, and once more at the end if there were any.

    Yields:
        The predictions of each window, in the rows' order, without those of bad rows.

    Raises:
        InputError: an unknown task; a table without the columns; a bad row, if strict (those before it have been
            yielded); no rows, or none but bad ones.
    """
    read = RequestReader(run.tasks, task, run.with_prefix)
    if rows.columns is not None:
        try:
            read.check_header(rows.columns)
        except InputError as error:
            raise InputError(f"{rows.origin}: {error}") from None
    size = 1
    total = bad = 0
    incoming = iter(rows)
    while window := list(islice(incoming, size * run.batch_size)):
        size = WINDOW
        requests: list[Request] = []
        stopped = None
        for row in window:
            request = _request(read, row)
            if isinstance(request, Request):
                total += 1
                requests.append(request)
                continue
            total += request.lines
            bad += request.lines
            stopped = f"{rows.origin}: {request.place}: {request.reason}"
            if strict:
                break
            report(f"{stopped}; skipped")
        if requests:
            yield predict_window(run.predictor, requests)
        if strict and stopped:
            raise InputError(stopped)
    if not total:
        raise InputError(f"{rows.origin}: has no rows")
    if bad == total:
        raise InputError(f"{rows.origin}: nothing could be predicted from any of its {total:,} rows")
    if bad:
        report(f"{rows.origin}: {bad:,} of {total:,} rows skipped")


def predict_window(predictor_of: Callable[[str], Predictor], requests: Sequence[Request]) -> list[Prediction]:
    """Predictions in the order of the requests, whichever weights answer them."""
    shares: dict[int, tuple[Predictor, list[int]]] = {}
    for i, request in enumerate(requests):
        predictor = predictor_of(request.task)
        shares.setdefault(id(predictor), (predictor, []))[1].append(i)
    found: dict[int, Prediction] = {}
    for predictor, members in shares.values():
        found |= zip(members, predictor.predict([requests[i] for i in members]), strict=True)
    return [found[i] for i in range(len(requests))]


def _request(read: RequestReader, row: Row | Fault) -> Request | Fault:
    if isinstance(row, Fault):
        return row
    try:
        return read(row)
    except InputError as error:
        return Fault(row.line, str(error))
