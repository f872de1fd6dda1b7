"""`hyperformer export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hyperformer_cli.cli.console import AsJson, Backbone, names, print_json, reports_errors

if TYPE_CHECKING:
    from hyperformer_cli.export.export_run import TaskReport


@reports_errors
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    format: Annotated[str, typer.Option("--format", help="static, hub, adapterhub or onnx.")],
    to: Annotated[Path | None, typer.Option(help="A new folder; RUN/export/FORMAT by default.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; all of the run's by default.")] = None,
    examples: Annotated[int, typer.Option(min=1, help="Real inputs a task on which it is compared.")] = 16,
    backbone: Backbone = None,
    push_to: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Upload a hub folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Export a run's best weights, and compare what the export computes with what the run computes.

    An export that differs is removed again (exit code 1). The last line on stdout is the folder.
    """
    from hyperformer_cli.export.export_run import export_run

    chosen = names(tasks, "--tasks")
    typer.echo(f"exporting {run}, then comparing the export with it", err=True)
    report = export_run(run, format, to, chosen, examples, backbone, push_to, _print_comparison)
    if as_json:
        print_json(report.as_dict())
        return
    if report.pushed_to:
        typer.echo(report.pushed_to)
    typer.echo(str(report.folder))


def _print_comparison(report: "TaskReport") -> None:
    ids = "the same" if report.ids_identical else "OTHER"
    typer.echo(
        f"{report.task}: logits differ by at most {report.difference:.2g}, {ids} greedy tokens; on {report.inputs}",
        err=True,
    )
