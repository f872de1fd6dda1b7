"""The results of a run that was not trained here, such as one that `convert` made: `report` reads them."""

from collections.abc import Mapping
from typing import Any

from hyperformer_cli.adapters.counting import count_model
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.runs.results import build_results


def check_can_keep(run: OpenedRun, tasks: object) -> None:
    """Refuses, before anything is evaluated, what would not be the run's own figures.

    Raises:
        InputError: the run has results, or only a part of it, other weights or other data are evaluated.
    """
    if run.folder.results_file.exists():
        raise InputError(f"--save: {run.folder.results_file} exists; the run has results")
    if tasks or run.overrides or run.weights != "best":
        raise InputError("--save: keeps the run's own figures: leave out --tasks, --weights and --set")
    run.with_one_model()


def keep_results(run: OpenedRun, evaluated: Mapping[str, Any], seconds: float) -> None:
    """Writes results.json, and the run's manifest, from what `evaluate_run` returned."""
    parameters = count_model(run.model).as_dict()
    times = {"training": 0.0, "evaluation": seconds}
    results = build_results(
        run.recipe, parameters, times, evaluated["results"], evaluated["average"], {}, 0, evaluated["details"]
    )
    run.folder.finish(run.recipe, results)
