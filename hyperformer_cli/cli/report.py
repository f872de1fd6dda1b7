"""`hyperformer report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hyperformer_cli.cli.console import AsJson, print_json, reports_errors
from hyperformer_cli.cli.lines import say

if TYPE_CHECKING:
    from hyperformer_cli.reporting.collect import FewShot
    from hyperformer_cli.reporting.groups import Group
    from hyperformer_cli.reporting.table import Table
    from hyperformer_cli.schema.section import SplitName

EPILOG = """Examples:

hyperformer report outputs/glue_hyperpp outputs/glue_hyper outputs/glue_adapters_dagger

hyperformer report outputs/low_resource --plots figures --plot-format svg

hyperformer report outputs --details --format markdown > results.md

hyperformer report outputs/glue_* --format latex > tables.tex

hyperformer report outputs/mini --compare "HyperFormer++ MINI"

hyperformer report outputs/quickstart --controls
"""


@reports_errors
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, sweeps, few-shot results, or a folder above.")
    ],
    form: Annotated[
        Literal["text", "markdown", "latex", "csv", "json"], typer.Option("--format", help="Format of the tables.")
    ] = "text",
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(help="The split whose scores are shown; by default test, with --controls validation."),
    ] = None,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Draw the figures into this folder.")] = None,
    plot_format: Annotated[Literal["png", "svg"], typer.Option(help="File format of the figures.")] = "png",
    details: Annotated[bool, typer.Option("--details", help="Figures per label, and of confusions.")] = False,
    compare: Annotated[
        str | None,
        typer.Option(metavar="ROW|all", help="Differences from this row of Table 1 over shared seeds, with intervals."),
    ] = None,
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Evaluate again with exchanged and with random task vectors; trains nothing."),
    ] = False,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="List each task's nearest neighbours.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tables and figures of finished runs, beside the paper's.

    Runs that differ only in the seed make one row: mean ± sample standard deviation (seeds). Prints what the runs
    allow: Table 1, few-shot, low-resource, ablation, parameters.
    """
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.reporting import formats
    from hyperformer_cli.reporting.collect import collect
    from hyperformer_cli.reporting.groups import group_runs
    from hyperformer_cli.reporting.plots import check_can_plot, write_plots
    from hyperformer_cli.reporting.tables import build_tables

    if as_json and form not in ("text", "json"):
        raise InputError(f"--json and --format {form}: choose one")
    form = "json" if as_json else form
    if embeddings and form not in ("text", "json"):
        raise InputError(f"--embeddings: as text or json, not {form}")
    if plots is not None:
        check_can_plot(plots)
    found = collect(runs)
    groups, left_out = group_runs(found.runs)
    if controls:
        if compare or details or embeddings or plots is not None:
            raise InputError(
                "--controls: a report of its own; leave out --compare, --details, --embeddings and --plots"
            )
        for line in [*(f"{folder}: not finished; left out" for folder in found.missing), *left_out]:
            typer.echo(line, err=True)
        _show(_controls(groups, split or "validation"), form)
        return
    split = split or "test"
    tables = build_tables(groups, found.fewshot, split, details, compare)
    neighbours = _neighbours(groups, found.fewshot) if embeddings else []
    drawn = (
        []
        if plots is None
        else write_plots(tables, groups, found.fewshot, plots, plot_format, split if details else None)
    )
    unscored = [str(run.folder) for group in groups if not group.metrics(split) for run in group.runs]
    for line in [
        *(f"{folder}: not finished; left out" for folder in found.missing),
        *(f"{folder}: no scores on split '{split}'; parameters only" for folder in unscored),
        *left_out,
    ]:
        say(line, err=True)
    if form == "json":
        content = {"tables": formats.to_json(tables), "missing": [str(folder) for folder in found.missing]}
        optional = {"embeddings": neighbours, "plots": [str(path) for path in drawn]}
        print_json(content | {key: value for key, value in optional.items() if value})
        return
    _show(tables, form)
    if form == "text":
        _print_neighbours(neighbours)
    for path in drawn:
        typer.echo(str(path), err=form != "text")  # a table that is piped into a file stays one


def _show(tables: "Sequence[Table]", form: str) -> None:
    from hyperformer_cli.cli.tables import stdout_console
    from hyperformer_cli.reporting import formats

    if form == "json":
        print_json({"tables": formats.to_json(tables)})
    elif form == "text":
        console = stdout_console()
        for made in tables:
            console.print(*formats.to_text(made, console.width), "", sep="\n")
    else:
        write = {"markdown": formats.to_markdown, "latex": formats.to_latex, "csv": formats.to_csv}[form]
        typer.echo(write(tables), nl=False)


def _controls(groups: "Sequence[Group]", split: "SplitName") -> "list[Table]":
    from hyperformer_cli.cli.progress import make_observer
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.reporting.controls import controls_table, why_not

    reasons = {str(group.runs[0].folder): why_not(group.runs[0]) for group in groups}
    usable = [group for group in groups if reasons[str(group.runs[0].folder)] is None]
    refused = [f"{folder}: {reason}" for folder, reason in reasons.items() if reason is not None]
    if not usable:
        raise InputError(f"--controls: {'; '.join(refused) or 'no finished run'}")
    for line in refused:
        typer.echo(f"{line}; left out", err=True)
    with make_observer() as observer:
        return [controls_table(usable, split, observer)]


def _neighbours(groups: "Sequence[Group]", fewshot: "Sequence[FewShot]") -> list[dict[str, Any]]:
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.reporting.embeddings import nearest_neighbours, read_embeddings

    found = read_embeddings(groups, fewshot)
    if not found:
        raise InputError("--embeddings: no run has task embeddings (a hyperformer method, with best/)")
    return [{"name": own.name, "run": str(own.folder), "tasks": nearest_neighbours(own)} for own in found]


def _print_neighbours(neighbours: list[dict[str, Any]]) -> None:
    from hyperformer_cli.cli.tables import stdout_console, table

    console = stdout_console()
    for own in neighbours:
        rows = [
            [task["task"] + (" (target)" if task["target"] else "")]
            + [f"{near['task']} {near['cosine']:.2f}" for near in task["nearest"]]
            for task in own["tasks"]
        ]
        columns = ["task", *("nearest by cosine", "second", "third")[: len(rows[0]) - 1]]
        console.print(table(f"Task embeddings, {own['name']}", columns, rows, left=len(columns)), "", sep="\n")
