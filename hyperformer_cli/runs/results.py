"""`results.json`: the final figures of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.engine.averages import mean_of_metrics_and_tasks

FORMAT_VERSION = 1


def merge_cells(
    cells: Sequence[Mapping[str, Any]], splits: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """The scores of runs of one task each, split by split, and both averages of each split."""
    scores = [score for split in splits for cell in cells for score in cell["results"] if score["split"] == split]
    average = {
        split: mean_of_metrics_and_tasks([(s["task"], s["metric"], s["value"]) for s in scores if s["split"] == split])
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
    steps: int,
    details: Sequence[Mapping[str, Any]] = (),
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """The content of `results.json`: metrics in per cent, times in seconds.

    `steps` are those that were made: fewer than the recipe's where `evaluation.patience` ended training. `details` are
    those of `engine.details`.
    """
    return {
        "format_version": FORMAT_VERSION,
        "name": recipe.name,
        "method": recipe.adapter.method,
        "seed": recipe.seed,
        "protocol": recipe.data.protocol,
        "parameters": parameters,
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "steps": steps,
        "best": best,
        "results": scores,
        "average": {split: {key: round(v, 4) for key, v in values.items()} for split, values in average.items()},
        "details": list(details),
        "warnings": list(warnings),
    }
