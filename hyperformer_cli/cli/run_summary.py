"""The last lines of `train`: what was kept, how long it took, where everything is, and what to do next."""

import shlex
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hyperformer_cli.cli.lines import say

if TYPE_CHECKING:
    from hyperformer_cli.runs.folder import RunFolder


def print_summary(run: "RunFolder", results: Mapping[str, Any]) -> None:
    """Prints them to stderr: the last line on stdout is the run's folder alone."""
    for line in _lines(run, results):
        say(line, 9, err=True)


def _lines(run: "RunFolder", results: Mapping[str, Any]) -> Iterator[str]:
    recipe, best, steps = run.recipe(), results["best"], results.get("steps")
    yield ""
    for head, line in _facts(recipe, best, steps, results["seconds"]):
        yield f"{head:<9}{line}"
    folder = shlex.quote(str(run.path))
    parts = "best/" if recipe.joint else "cells/*/best/"
    yield f"weights  {folder}/{parts}"
    yield f"figures  {folder}/results.json; the log of training is {folder}/{parts.replace('best/', 'metrics.jsonl')}"
    if warnings := results.get("warnings"):
        yield f"warnings {len(warnings)}, above and in results.json"
    task = f" --task {recipe.task_names[0]}" if len(recipe.task_names) > 1 else ""
    yield f"next     hyperformer eval {folder} --details"
    yield f"         hyperformer predict {folder}{task} rows.csv"
    yield (
        f"         hyperformer export {folder} --format static"
        if recipe.adapter.has_bank and recipe.joint
        else (f"         hyperformer report {folder}")
    )


def _facts(
    recipe: Any, best: Mapping[str, Any], steps: int | None, seconds: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    planned = recipe.training.max_steps
    if recipe.joint:
        metric, value = best.get("metric", "average"), best.get("value", best["average"])
        early = f", which evaluation.patience ended before {planned:,}" if steps is not None and steps < planned else ""
        yield "best", f"step {best['step']:,} of {steps or planned:,}{early} ({metric} {value:.2f} on validation)"
    else:
        yield "best", ", ".join(f"{task}: step {own['step']:,}" for task, own in best.items())
    named = {"training": "training", "evaluation": "evaluating"}
    spent = ", ".join(f"{_duration(seconds[key])} {word}" for key, word in named.items() if key in seconds)
    yield "took", spent


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
