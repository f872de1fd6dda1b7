"""`hyperformer init`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hyperformer_cli.cli.console import AsJson, names, print_json, reports_errors
from hyperformer_cli.cli.lines import say

if TYPE_CHECKING:
    from hyperformer_cli.starting.start import Start

EPILOG = """Examples:

hyperformer init tickets.csv --label priority --text subject,body --model bundled

hyperformer init tickets.csv --with mini_sst2,mini_rte --model bundled --group customer

hyperformer init reviews/ --label stars --kind numbers --model google-t5/t5-base
"""
_SHOWN = 10  # rows that are left out, and labels
_HEAD = 9  # columns before what a line says


@reports_errors
def init(
    data: Annotated[Path, typer.Argument(help="CSV, TSV, JSON or parquet; or a folder with a file per split.")],
    label: Annotated[str | None, typer.Option(help="The column to predict; guessed if only one can be meant.")] = None,
    text: Annotated[
        str | None, typer.Option(help="The columns to read, separated by commas; else those with sentences.")
    ] = None,
    model: Annotated[str, typer.Option(help="A name on the hub, a folder, or bundled.")] = "google-t5/t5-base",
    kind: Annotated[
        Literal["labels", "numbers", "text"] | None, typer.Option(help="What is predicted; guessed from the values.")
    ] = None,
    beside: Annotated[
        str | None, typer.Option("--with", help="Tasks to train beside it, by name or file, separated by commas.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="A column whose values stay together when a file is split.")] = None,
    validation: Annotated[Path | None, typer.Option(help="A file of rows for validation.")] = None,
    test: Annotated[Path | None, typer.Option(help="A file of rows for the test.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the task and its files; that of the data by default.")] = None,
    to: Annotated[Path, typer.Option(help="The folder to write into.")] = Path(),
    seed: Annotated[int, typer.Option(help="Of the split of a single file.")] = 42,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a first recipe and task file from your data, with the splits they name.

    A single file is split into training, validation and test (80, 10, 10 %) by label. Rows without a label or a text,
    and copies, are left out and named.
    """
    from hyperformer_cli.starting.start import Request, start

    request = Request(
        data, model, label, names(text, "--text"), kind, group, validation, test,
        names(beside, "--with") or (), name, to, seed, force,
    )  # fmt: skip
    done = start(request)
    if as_json:
        print_json(_described(done))
        return
    _print(done)


def _described(done: "Start") -> dict[str, Any]:
    return {
        "files": [str(file) for file in done.files],
        "text": done.texts,
        "label": done.label,
        "kind": done.kind,
        "labels": dict(done.labels) if done.kind == "labels" else {},
        "left_out": [{"file": str(row.file), "line": row.line, "reason": row.reason} for row in done.cleaned.left_out],
        "respelled": done.cleaned.respelled,
        "renamed": done.renamed,
        "recipe": done.recipe.as_dict(),
        "data": done.report.as_dict(),
    }


def _print(done: "Start") -> None:
    from hyperformer_cli.cli.data_report import print_reports
    from hyperformer_cli.starting.rows import is_plain_copy

    def line(text: str) -> None:
        say(text, _HEAD)

    for sheet in done.sheets:
        line(f"read     {sheet.path}: {len(sheet.rows):,} rows, {len(sheet.columns)} columns ({sheet.dialect})")
    line(f"text     {', '.join(done.texts)}")
    line(f"predict  {done.label} ({done.kind})")
    for old, new in done.cleaned.respelled.items():
        line(f"         '{old}' is written '{new}', as most rows do")
    for old, new in done.renamed.items():
        line(f"         column '{old}' is called {new}")
    left_out = done.cleaned.left_out
    if left_out:
        line(f"left out {len(left_out):,} rows")
        for row in sorted(left_out, key=lambda row: is_plain_copy(row.reason))[:_SHOWN]:
            line(f"         {row}")
        if len(left_out) > _SHOWN:
            line(f"         and {len(left_out) - _SHOWN:,} more (all of them with --json)")
    print_reports({done.report.task: done.report.as_dict()}, examples_of=())
    line("")
    line(f"wrote    {', '.join(map(str, done.files))}")
    line(f"next     hyperformer train {done.files[0]} --dry-run    # reports, trains nothing")
    line(f"         hyperformer train {done.files[0]}")
