"""`hyperformer eval`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperformer_cli.cli.console import (
    AsJson,
    Backbone,
    Overrides,
    is_main_process,
    names,
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
    backbone: Backbone = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run again, on any split, tasks or data (--set data.source=FOLDER)."""
    from hyperformer_cli.runs.folder import RunFolder

    RunFolder(run).recipe(overrides or ())  # says what is wrong before torch is imported, which takes seconds
    from hyperformer_cli.cli.progress import make_observer
    from hyperformer_cli.cli.tables import print_results
    from hyperformer_cli.evaluation.evaluate_run import evaluate_run
    from hyperformer_cli.runs.opened import OpenedRun

    chosen, trained = names(tasks, "--tasks"), OpenedRun(run, weights, backbone, overrides or ())
    with make_observer() as observer:
        results = evaluate_run(trained, split, chosen, observer)
    if not is_main_process():
        return
    if as_json:
        print_json({"run": str(run), **results})
        return
    print_results(results)
