"""The runs in and below a folder: which there are, how far each is, and its best score so far.

Nothing here loads a model, and of a run's files only the recipe, the results and the end of the log are read.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.folder import RunFolder

State = Literal["done", "running", "stopped", "begun", "damaged"]
_END = 1 << 16  # bytes of a log that hold its last line


@dataclass(frozen=True)
class RunSummary:
    """One run.

    Attributes:
        folder: its path.
        state: `done` (it has results), `running` (a process holds its lock), `stopped` (it has a checkpoint), `begun`
            (it has none yet), or `damaged` (its recipe or its results cannot be read).
        name, method, tasks: the recipe's; None where this cannot be read.
        step, max_steps: optimizer steps made, and planned; where tasks are trained alone, over all of them.
        metric: what chose the best checkpoint.
        best: its value on validation so far.
        modified: when its newest file was written, in seconds since 1970.
    """

    folder: Path
    state: State
    name: str | None = None
    method: str | None = None
    tasks: int | None = None
    step: int | None = None
    max_steps: int | None = None
    metric: str | None = None
    best: float | None = None
    modified: float = 0.0


def find_runs(folder: Path) -> Iterator[Path]:
    """The run folders at and below a folder, sorted; those of a sweep's cells, but not the parts of a run.

    Raises:
        InputError: it is no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if is_run(folder):
        yield folder
        return
    for below in folders_below(folder):
        yield from find_runs(below)


def folders_below(folder: Path) -> list[Path]:
    """The folders in a folder that may be runs or hold some, sorted; none if it is no folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.is_symlink())
    return [folder / name for name in names if not name.startswith(".")]


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run: a recipe alone may be anybody's."""
    if not (folder / "recipe.yaml").is_file():
        return False
    return any(
        (folder / name).exists() for name in ("environment.json", "results.json", "metrics.jsonl", "best", "cells")
    )


def summarise_run(folder: Path) -> RunSummary:
    """What a run's files say of it."""
    run = RunFolder(folder)
    written = (run.results_file, run.metrics_file, run.recipe_file)
    modified = max(file.stat().st_mtime for file in written if file.is_file())
    try:
        recipe = run.recipe()
        results = run.results() if run.results_file.is_file() else None
    except InputError:
        return RunSummary(folder, "damaged", modified=modified)
    parts = list(run.parts(recipe).values())
    planned = len(parts) * recipe.training.max_steps
    if results is not None:
        state: State = "done"
        step, best = results.get("steps", planned), _best_of_results(recipe, results)
    else:
        made = [part_step for part in parts if (part_step := _last_step(part.metrics_file)) is not None]
        step, best = sum(made) if made else None, _best_of_log(run, recipe) if recipe.joint else None
        state = "running" if any(_is_locked(part) for part in (run, *parts)) else "stopped" if made else "begun"
    return RunSummary(
        folder, state, recipe.name, recipe.adapter.method, len(recipe.task_names), step, planned,
        recipe.evaluation.metric, best, modified,
    )  # fmt: skip


def _best_of_results(recipe: Recipe, results: dict[str, Any]) -> float | None:
    best = results.get("best")
    if recipe.joint and isinstance(best, dict):
        return _value(best)
    validation = results["average"].get("validation")  # with one model per task there are several best steps
    return validation and validation.get("metrics")


def _best_of_log(run: RunFolder, recipe: Recipe) -> float | None:
    chosen, best = recipe.evaluation.chosen_metric, None
    for record in run.logged():
        if record.get("kind") == "evaluation" and record.get("best"):
            scores = {(score["task"], score["metric"]): score["value"] for score in record["results"]}
            best = record["average"] if chosen is None else scores.get(chosen)
    return best


def _value(best: dict[str, Any]) -> float | None:
    return best.get("value", best.get("average"))


def _last_step(metrics_file: Path) -> int | None:
    """The step of the last whole line of a log."""
    try:
        with metrics_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue
    return None


def _is_locked(run: RunFolder) -> bool:
    """Whether a process holds the run's lock; asks for a shared one, and for no longer than that."""
    try:
        with (run.path / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
