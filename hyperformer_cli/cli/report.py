"""`hyperformer report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hyperformer_cli.cli.console import AsJson, print_json, reports_errors

EPILOG = """Examples:

hyperformer report outputs/glue_hyperpp outputs/glue_hyper outputs/glue_adapters_dagger

hyperformer report outputs/low_resource --plots figures --plot-format svg

hyperformer report outputs/glue_* --format latex > tables.tex
"""


@reports_errors
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, sweeps, few-shot results.")],
    format_: Annotated[str, typer.Option("--format", help="text, markdown, latex, csv or json.")] = "text",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Draw the figures into this folder.")] = None,
    plot_format: Annotated[str, typer.Option(help="png or svg.")] = "png",
    embeddings: Annotated[bool, typer.Option("--embeddings", help="List each task's nearest neighbours.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tables and figures of finished runs, beside the paper's.

    Runs that differ only in the seed make one row: mean ± sample standard deviation (seeds). Prints what the runs
    allow: Table 1, few-shot, low-resource, ablation, parameters.
    """
    from hyperformer_cli.reporting.collect import collect
    from hyperformer_cli.reporting.groups import group_runs
    from hyperformer_cli.reporting.tables import build_tables

    format_ = _checked(format_, split, plots, plot_format, embeddings, as_json)
    found = collect(runs)
    groups, left_out = group_runs(found.runs)
    tables = build_tables(groups, found.fewshot, split)
    neighbours = _neighbours(groups, found.fewshot) if embeddings else []
    drawn: list[Path] = []
    if plots is not None:
        from hyperformer_cli.reporting.plots import write_plots

        drawn = write_plots(tables, groups, found.fewshot, plots, plot_format)
    unscored = [str(run.folder) for group in groups if not group.metrics(split) for run in group.runs]
    for line in [
        *(f"{folder}: not finished; left out" for folder in found.missing),
        *(f"{folder}: no scores on split '{split}'; parameters only" for folder in unscored),
        *left_out,
    ]:
        typer.echo(line, err=True)
    _print(tables, neighbours, drawn, found.missing, format_)


def _checked(format_: str, split: str, plots: Path | None, plot_format: str, embeddings: bool, as_json: bool) -> str:
    """The output format, once every option has been checked."""
    from hyperformer_cli.errors import InputError, did_you_mean
    from hyperformer_cli.reporting.formats import FORMATS
    from hyperformer_cli.schema.section import SPLITS

    if as_json:
        if format_ not in ("text", "json"):
            raise InputError(f"--json and --format {format_}: choose one")
        format_ = "json"
    for option, value, valid in (("--format", format_, FORMATS), ("--split", split, SPLITS)):
        if value not in valid:
            raise InputError(f"{option} {value}: {did_you_mean(value, valid)}")
    if embeddings and format_ not in ("text", "json"):
        raise InputError(f"--embeddings: as text or json, not {format_}")
    if plots is not None or plot_format != "png":
        from hyperformer_cli.reporting.plots import check_can_plot

        check_can_plot(plots or Path(), plot_format)
    return format_


def _neighbours(groups: Sequence[Any], fewshot: Sequence[Any]) -> list[dict[str, Any]]:
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.reporting.embeddings import nearest_neighbours, read_embeddings

    found = read_embeddings(groups, fewshot)
    if not found:
        raise InputError("--embeddings: no run has task embeddings (a hyperformer method, with best/)")
    return [{"name": own.name, "run": str(own.folder), "tasks": nearest_neighbours(own)} for own in found]


def _print(
    tables: Sequence[Any], neighbours: list[dict[str, Any]], drawn: Sequence[Path], missing: Sequence[Path], form: str
) -> None:
    from hyperformer_cli.reporting import formats

    if form == "json":
        content = {"tables": formats.to_json(tables), "missing": [str(folder) for folder in missing]}
        content |= {"embeddings": neighbours} if neighbours else {}
        print_json(content | ({"plots": [str(path) for path in drawn]} if drawn else {}))
        return
    if form == "text":
        _print_text(tables, neighbours)
    else:
        write = {"markdown": formats.to_markdown, "latex": formats.to_latex, "csv": formats.to_csv}[form]
        typer.echo(write(tables), nl=False)
    for path in drawn:
        typer.echo(str(path), err=form != "text")  # a table that is piped into a file stays one


def _print_text(tables: Sequence[Any], neighbours: list[dict[str, Any]]) -> None:
    from hyperformer_cli.cli.tables import stdout_console, table
    from hyperformer_cli.reporting.formats import to_text

    console = stdout_console()
    for made in tables:
        console.print(*to_text(made, console.width), "", sep="\n")
    for own in neighbours:
        rows = [
            [task["task"] + (" (target)" if task["target"] else "")]
            + [f"{near['task']} {near['cosine']:.2f}" for near in task["nearest"]]
            for task in own["tasks"]
        ]
        columns = ["task", *("nearest by cosine", "second", "third")[: len(rows[0]) - 1]]
        console.print(table(f"Task embeddings, {own['name']}", columns, rows, left=len(columns)), "", sep="\n")
