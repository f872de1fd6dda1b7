"""`hyperformer runs`: lists the runs below a folder, and compares two."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hyperformer_cli.cli.console import AsJson, print_json, reports_errors

if TYPE_CHECKING:
    from hyperformer_cli.runs.listing import RunSummary

EPILOG = """Examples:

hyperformer runs outputs

hyperformer runs outputs --state stopped --json | jq -r '.[].run' | xargs -n 1 hyperformer train

hyperformer runs diff outputs/tickets outputs/tickets_longer
"""


class _ListsByDefault(TyperGroup):
    """`runs` and `runs FOLDER` mean `runs list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not any(arg in self.commands or arg in ("-h", "--help") for arg in args[:1]):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_ListsByDefault, help="List runs (`runs [FOLDER]`), and compare two.", epilog=EPILOG)


@app.command("list")
@reports_errors
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Where to look for runs, in it and below.")] = Path("."),
    state: Annotated[
        str | None, typer.Option(help="Only runs that are done, running, stopped, begun or damaged.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs in and below a folder: state, steps, best validation score, age.

    done: it has results. running: a process works on it. stopped: `hyperformer train FOLDER` continues it. begun: it
    stopped before its first line of the log.
    """
    from typing import get_args

    from hyperformer_cli.errors import InputError, did_you_mean
    from hyperformer_cli.runs.listing import State, find_runs, summarise_run

    if state is not None and state not in get_args(State):
        raise InputError(f"--state {state}: {did_you_mean(state, get_args(State))}")
    found = [summarise_run(path) for path in find_runs(folder)]
    found = [run for run in found if state in (None, run.state)]
    if as_json:
        print_json([_as_dict(run) for run in found])
        return
    if not found:
        typer.echo(f"no runs in {folder} or below it", err=True)
        return
    from hyperformer_cli.cli.tables import stdout_console, table

    now = time.time()
    rows = [
        (str(run.folder), run.state, run.method, run.tasks, _steps(run), run.best, _age(now - run.modified))
        for run in found
    ]
    columns = ("run", "state", "method", "tasks", "steps", "best", "age")
    stdout_console().print(table("Runs (best: validation, by each recipe's evaluation.metric)", columns, rows, left=3))


@app.command()
@reports_errors
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    as_json: AsJson = False,
) -> None:
    """Compare two runs: keys of the recipe that differ, versions and hardware, and every score."""
    from hyperformer_cli.runs.comparison import compare_runs

    found = compare_runs(first, second)
    if as_json:
        print_json(found)
        return
    from hyperformer_cli.cli.tables import stdout_console, table

    console = stdout_console()
    for part in ("recipe", "environment"):
        if rows := [(key, *map(_shown, values)) for key, values in found[part].items()]:
            console.print(table(f"{part.capitalize()}: what differs", (part, "A", "B"), rows, left=3), "", sep="\n")
        else:
            console.print(f"{part.capitalize()}: no difference", "", sep="\n")
    keys = ("task", "split", "metric", "first", "second", "difference")
    rows = [tuple(result[key] for key in keys) for result in found["results"]]
    console.print(table("Scores", ("task", "split", "metric", "A", "B", "B - A"), rows, left=3))


def _as_dict(run: "RunSummary") -> dict[str, Any]:
    from dataclasses import asdict

    values = asdict(run)
    return {"run": str(values.pop("folder")), **values}


def _steps(run: "RunSummary") -> str:
    if run.max_steps is None:
        return ""
    return f"{run.max_steps:,}" if run.step == run.max_steps else f"{run.step or 0:,} of {run.max_steps:,}"


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _shown(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
