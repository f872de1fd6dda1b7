"""Training losses by task, from metrics.jsonl."""

import json
from collections.abc import Sequence
from pathlib import Path

from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting.collect import Run
from hyperformer_cli.runs.folder import RunFolder

Losses = dict[str, tuple[list[int], list[float]]]  # by task: optimizer steps, and mean loss a target token up to each


def training_losses(run: Run) -> Losses:
    """The losses of a run; of tasks trained each alone from their own folders.

    Raises:
        InputError: a line is damaged.
    """
    folder = RunFolder(run.folder)
    parts = [folder] if run.recipe.joint else [folder.cell(task=task) for task in run.recipe.task_names]
    losses: Losses = {}
    for part in parts:
        for step, by_task in _lines(part.metrics_file):
            for task, loss in by_task.items():
                steps, values = losses.setdefault(task, ([], []))
                steps.append(step)
                values.append(loss)
    return losses


def _lines(file: Path) -> Sequence[tuple[int, dict[str, float]]]:
    if not file.is_file():
        return []
    found = []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break  # cut off while it was written
        try:
            record = json.loads(line)
            if record["kind"] == "training":
                found.append((int(record["step"]), {task: float(v) for task, v in record["loss_by_task"].items()}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file}:{number}: damaged: {error}") from error
    return found
