"""`hyperformer predict`."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperformer_cli.cli.console import Backbone, Device, on_device, reports_errors

EPILOG = """Examples:

hyperformer predict outputs/glue_hyperpp --task mrpc pairs.tsv > predictions.jsonl

hyperformer predict outputs/tickets tickets.csv --id-column number --keep --output-format csv > answered.csv

... | hyperformer predict outputs/glue_hyperpp | jq -r 'select(.label == "acceptable") | .id'

A line of output: {"id": 7, "task": "mrpc", "prediction": "1", "label": "equivalent", "scores": {"not_equivalent": 0.17, "equivalent": 0.83}}
"""  # noqa: E501


@reports_errors
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder, or an export.")],
    file: Annotated[
        Path | None, typer.Argument(help="Rows as .jsonl, .json, .csv or .tsv; by default (or for -) stdin.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="The task of every row; by default each row's column `task` names it.")
    ] = None,
    input_format: Annotated[
        Literal["jsonl", "csv", "tsv"] | None, typer.Option(help="By default the file's suffix, and jsonl for stdin.")
    ] = None,
    backbone: Backbone = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Repeat the row's columns; `row.NAME` where a prediction has a NAME itself.")
    ] = False,
    id_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Where a row's id is; by default `id`, `idx`, or its number.")
    ] = None,
    output_format: Annotated[
        Literal["jsonl", "csv"], typer.Option(help="csv has one column per label's score.")
    ] = "jsonl",
    device: Device = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows at a time; by default the run's.")] = None,
    no_scores: Annotated[bool, typer.Option("--no-scores", help="Leave the labels' scores out.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row, with exit code 2.")] = False,
) -> None:
    """Predict rows from a file or stdin; JSON lines or CSV to stdout, in the rows' order.

    Rows have the columns of the task's data set, or a ready-made `text`. The id is a row's `id` or `idx`, else its
    number from 0. Bad rows are reported on stderr and skipped; the exit code is 0 unless every row was bad. Where rows
    have the column of the label too, the accuracy is printed at the end, on stderr.
    """
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.prediction.rows import RowStream, format_of
    from hyperformer_cli.runs.folder import RunFolder

    with contextlib.ExitStack() as opened:
        if file is None or str(file) == "-":
            if sys.stdin is None:
                raise InputError("standard input is closed; give a FILE")
            rows = RowStream(typer.get_binary_stream("stdin"), "stdin", input_format or "jsonl")
        else:
            chosen = input_format or format_of(str(file))
            try:
                stream = opened.enter_context(file.open("rb"))
            except OSError as error:
                raise InputError(f"{file}: cannot be read: {error.strerror}") from error
            rows = RowStream(stream, str(file), chosen)
        overrides = on_device([] if batch_size is None else [f"evaluation.batch_size={batch_size}"], device)
        RunFolder(run).recipe(overrides)  # says what is wrong before torch is imported, which takes seconds
        from hyperformer_cli.cli.progress import LineObserver
        from hyperformer_cli.prediction.stream import predict_stream, prediction_columns
        from hyperformer_cli.runs.opened import OpenedRun
        from hyperformer_cli.storage.records import RecordWriter

        trained, observer = OpenedRun(run, backbone=backbone, overrides=overrides), LineObserver()
        found = predict_stream(trained, rows, task, strict, not no_scores, observer, id_column, keep)
        writer: RecordWriter | None = None
        for predictions in found:
            if writer is None:
                asked = [trained.tasks[task]] if task is not None else trained.tasks.values()
                columns = prediction_columns(asked, not no_scores, predictions)
                writer = RecordWriter(typer.get_binary_stream("stdout"), output_format, columns)
            writer.write(predictions)
        if writer is not None and writer.left_out:
            observer.reported(f"columns that the first rows do not have are left out: {', '.join(writer.left_out)}")
