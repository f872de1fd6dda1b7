"""`hyperformer export`."""

from pathlib import Path
from typing import Annotated

import typer

from hyperformer_cli.cli.console import AsJson, Backbone, names, print_json, reports_errors
from hyperformer_cli.export.formats import FORMATS


@reports_errors
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    format: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.")],
    to: Annotated[Path | None, typer.Option(help="A new folder; RUN/export/FORMAT by default.")] = None,
    tasks: Annotated[
        str | None, typer.Option("--tasks", "--task", help="Comma-separated names; by default all of the run's.")
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Rows per task on which it is compared with the run.")] = 16,
    backbone: Backbone = None,
    with_backbone: Annotated[
        bool, typer.Option("--with-backbone", help="peft: also write the backbone, with trained layer norms in it.")
    ] = False,
    push_to: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Upload a hub folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Export a run's best weights, and check that the export computes what the run computes.

    An export that differs is removed again (exit code 1). The last line on stdout is the folder.
    """
    from hyperformer_cli.runs.folder import RunFolder

    RunFolder(run).recipe()  # says what is wrong before torch is imported, which takes seconds
    from hyperformer_cli.cli.progress import LineObserver
    from hyperformer_cli.export.export_run import export_run

    chosen = names(tasks, "--tasks")
    typer.echo(f"exporting {run}, then comparing the export with it", err=True)
    report = export_run(run, format, to, chosen, examples, backbone, push_to, LineObserver(), with_backbone)
    if as_json:
        print_json(report.as_dict())
        return
    if report.pushed_to:
        typer.echo(report.pushed_to)
    typer.echo(str(report.folder))
