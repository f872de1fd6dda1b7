"""`hyperformer eval`."""

import contextlib
import io
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperformer_cli.cli.console import (
    AsJson,
    Backbone,
    Device,
    Overrides,
    is_main_process,
    names,
    on_device,
    print_json,
    reports_errors_of_all,
)


@reports_errors_of_all
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, or an export.")],
    split: Annotated[
        list[str] | None, typer.Option(help="train, validation or test; by default the recipe's. Repeatable.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; by default all of the run's.")] = None,
    weights: Annotated[Literal["best", "last"], typer.Option(help="Which of the run's weights to evaluate.")] = "best",
    details: Annotated[
        bool, typer.Option("--details", help="Precision, recall and F1 per label, and which labels are confused.")
    ] = False,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every answer to a new .jsonl or .csv file.")
    ] = None,
    backbone: Backbone = None,
    device: Device = None,
    overrides: Overrides = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the figures as results.json, of a run that has none: a converted one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run again, on any split, tasks or data (--set data.source=FOLDER).

    --predictions: input, gold, prediction, scores, whether it is right, whether it is outside the label set; one line
    per row.
    """
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.runs.folder import RunFolder
    from hyperformer_cli.storage.records import record_format_of

    if predictions is not None:
        record_format_of(predictions)
        if predictions.exists():
            raise InputError(f"--predictions {predictions}: exists; name another file")

    changes = on_device(overrides, device)
    RunFolder(run).recipe(changes)  # says what is wrong before torch is imported, which takes seconds
    from hyperformer_cli.cli.details import print_details
    from hyperformer_cli.cli.progress import make_observer
    from hyperformer_cli.cli.tables import print_results
    from hyperformer_cli.evaluation.evaluate_run import evaluate_run
    from hyperformer_cli.evaluation.keep_results import check_can_keep, keep_results
    from hyperformer_cli.evaluation.prediction_file import prediction_columns
    from hyperformer_cli.runs.opened import OpenedRun
    from hyperformer_cli.storage.atomic import atomic_path
    from hyperformer_cli.storage.records import RecordWriter

    chosen, trained = names(tasks, "--tasks"), OpenedRun(run, weights, backbone, changes)
    if save:
        check_can_keep(trained, chosen)
    start = time.perf_counter()
    with contextlib.ExitStack() as opened:
        writer = None
        if predictions is not None and is_main_process():
            file = opened.enter_context(atomic_path(predictions)).open("wb")
            columns = prediction_columns(trained.declared.values())
            writer = RecordWriter(opened.enter_context(file), record_format_of(predictions), columns)
        elif predictions is not None:  # every process computes the same
            writer = RecordWriter(io.BytesIO(), "jsonl")
        observer = opened.enter_context(make_observer())
        results = evaluate_run(trained, split, chosen, observer, writer)
    if not is_main_process():
        return
    if save:
        keep_results(trained, results, time.perf_counter() - start)
    if as_json:
        print_json({"run": str(run), **results})
        return
    print_results(results)
    if details:
        print_details(results["details"])
    if predictions is not None:
        typer.echo(f"predictions: {predictions}", err=True)
