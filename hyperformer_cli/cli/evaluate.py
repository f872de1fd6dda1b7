"""`hyperformer eval`."""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from hyperformer_cli.cli.console import AsJson, Backbone, Overrides, is_main_process, names, print_json, reports_errors


@reports_errors
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, or an export.")],
    split: Annotated[
        list[str] | None, typer.Option(help="train, validation or test; by default the recipe's. Repeatable.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; by default all of the run's.")] = None,
    weights: Annotated[Literal["best", "last"], typer.Option(help="Which of the run's weights to evaluate.")] = "best",
    backbone: Backbone = None,
    overrides: Overrides = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the figures as results.json, of a run that has none: a converted one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run again, on any split, tasks or data (--set data.source=FOLDER)."""
    from hyperformer_cli.runs.folder import RunFolder

    RunFolder(run).recipe(overrides or ())  # says what is wrong before torch is imported, which takes seconds
    from hyperformer_cli.cli.progress import make_observer
    from hyperformer_cli.cli.tables import print_results
    from hyperformer_cli.evaluation.evaluate_run import evaluate_run
    from hyperformer_cli.evaluation.keep_results import check_can_keep, keep_results
    from hyperformer_cli.runs.opened import OpenedRun

    chosen, trained = names(tasks, "--tasks"), OpenedRun(run, weights, backbone, overrides or ())
    if save:
        check_can_keep(trained, chosen)
    start = time.perf_counter()
    with make_observer() as observer:
        results = evaluate_run(trained, split, chosen, observer)
    if not is_main_process():
        return
    if save:
        keep_results(trained, results, time.perf_counter() - start)
    if as_json:
        print_json({"run": str(run), **results})
        return
    print_results(results)
