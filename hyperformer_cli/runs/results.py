"""`results.json`: the final figures of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from hyperformer_cli.config.recipe import Recipe

FORMAT_VERSION = 1


def mean_of_metrics_and_tasks(values: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Both averages of (task, metric value) pairs.

    `metrics` is the mean over all metrics, the paper's `Avg` (of GLUE's eleven figures); `tasks` the mean over the
    tasks' own means.
    """
    by_task: dict[str, list[float]] = {}
    for task, value in values:
        by_task.setdefault(task, []).append(value)
    means = [sum(own) / len(own) for own in by_task.values()]
    return {"metrics": sum(value for _, value in values) / len(values), "tasks": sum(means) / len(means)}


def merge_cells(
    cells: Sequence[Mapping[str, Any]], splits: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """The scores of runs of one task each, split by split, and both averages of each split."""
    scores = [score for split in splits for cell in cells for score in cell["results"] if score["split"] == split]
    average = {
        split: mean_of_metrics_and_tasks([(s["task"], s["value"]) for s in scores if s["split"] == split])
        for split in splits
    }
    return scores, average


def build_results(
    recipe: Recipe,
    parameters: Mapping[str, Any],
    seconds: Mapping[str, float],
    scores: Sequence[Mapping[str, Any]],
    average: Mapping[str, Mapping[str, float]],
    best: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of `results.json`: metrics in per cent, times in seconds."""
    return {
        "format_version": FORMAT_VERSION,
        "name": recipe.name,
        "method": recipe.adapter.method,
        "seed": recipe.seed,
        "protocol": recipe.data.protocol,
        "parameters": dict(parameters),
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "best": dict(best),
        "results": [dict(score) for score in scores],
        "average": {split: {key: round(v, 4) for key, v in values.items()} for split, values in average.items()},
    }
