"""Two runs beside each other: where their recipes, their surroundings and their results differ."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hyperformer_cli.runs.folder import RunFolder

_SAYS_NOTHING = ("name", "output_dir")  # keys of recipes in which any two runs differ


def compare_runs(first: Path, second: Path) -> dict[str, Any]:
    """What `runs diff` shows.

    Returns:
        `recipe` and `environment`: both values of every dotted key that differs; a missing one is None. `results`: one
        entry per task, split and metric of either run, with both values and their `difference` (the second less the
        first), None where a run does not have it.

    Raises:
        InputError: one of them is no run, or damaged.
    """
    runs = RunFolder(first), RunFolder(second)
    recipes = [dict(_flat(run.recipe().as_dict())) for run in runs]
    for recipe in recipes:
        for key in _SAYS_NOTHING:
            recipe.pop(key, None)
    return {
        "runs": [str(first), str(second)],
        "recipe": _differences(*recipes),
        "environment": _differences(*(_environment(run) for run in runs)),
        "results": _results(*runs),
    }


def _environment(run: RunFolder) -> dict[str, Any]:
    try:
        return dict(_flat(json.loads(run.environment_file.read_bytes())))
    except (OSError, ValueError, AttributeError):
        return {}


def _results(*runs: RunFolder) -> list[dict[str, Any]]:
    values: list[dict[tuple[str, str, str], float]] = []
    for run in runs:
        scores = run.results()["results"] if run.results_file.is_file() else []
        values.append({(score["task"], score["split"], score["metric"]): score["value"] for score in scores})
    first, second = values
    found = []
    for key in dict.fromkeys([*first, *second]):
        a, b = first.get(key), second.get(key)
        difference = None if a is None or b is None else round(b - a, 4)
        task, split, metric = key
        found.append(
            {"task": task, "split": split, "metric": metric, "first": a, "second": b, "difference": difference}
        )
    return found


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        key: [first.get(key), second.get(key)]
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
