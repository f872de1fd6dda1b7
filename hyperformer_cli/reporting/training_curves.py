"""Training losses and validation scores by task, from metrics.jsonl."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting.collect import Run
from hyperformer_cli.runs.folder import RunFolder

Curves = dict[str, tuple[list[int], list[float]]]  # by task: optimizer steps, and a value at each


def training_losses(run: Run) -> Curves:
    """Mean loss per target token since the line before, from the folders that hold a run's models.

    Raises:
        InputError: a line is damaged.
    """
    return _curves(run, "training", lambda record: record["loss_by_task"])


def validation_scores(run: Run) -> Curves:
    """Every task's principal metric on validation, from the folders that hold a run's models.

    Raises:
        InputError: a line is damaged.
    """
    return _curves(run, "evaluation", _principal_scores)


def principal_metrics(run: Run) -> dict[str, str]:
    """The first metric of every task."""
    metrics: dict[str, str] = {}
    for scores in run.scores.values():
        for task, metric in scores:
            metrics.setdefault(task, metric)
    return metrics


def _principal_scores(record: dict[str, Any]) -> dict[str, float]:
    values: dict[str, float] = {}
    for score in record["results"]:
        values.setdefault(score["task"], score["value"])
    return values


def _curves(run: Run, kind: str, values: Callable[[dict[str, Any]], dict[str, float]]) -> Curves:
    curves: Curves = {}
    for part in RunFolder(run.folder).parts(run.recipe).values():
        for number, record in _records(part.metrics_file):
            try:
                if record["kind"] == kind:
                    for task, value in values(record).items():
                        steps, points = curves.setdefault(task, ([], []))
                        points.append(float(value))
                        steps.append(int(record["step"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"{part.metrics_file}:{number}: damaged: {error}") from error
    return curves


def _records(file: Path) -> Iterator[tuple[int, Any]]:
    """The lines of a log, by number."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    *whole, _ = text.split("\n")  # the last line may be cut off while it is written
    for number, line in enumerate(whole, 1):
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise InputError(f"{file}:{number}: damaged: {error}") from error
