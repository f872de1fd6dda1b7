"""Training losses by task, from metrics.jsonl."""

import json
from collections.abc import Iterator
from pathlib import Path

from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting.collect import Run
from hyperformer_cli.runs.folder import RunFolder

Losses = dict[str, tuple[list[int], list[float]]]  # by task: optimizer steps, and mean loss per target token up to each


def training_losses(run: Run) -> Losses:
    """The losses of a run, from the folders that hold its models.

    Raises:
        InputError: a line is damaged.
    """
    losses: Losses = {}
    for part in RunFolder(run.folder).parts(run.recipe).values():
        for step, task, loss in _logged(part.metrics_file):
            steps, values = losses.setdefault(task, ([], []))
            steps.append(step)
            values.append(loss)
    return losses


def _logged(file: Path) -> Iterator[tuple[int, str, float]]:
    """Step, task and loss of every training line."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    *whole, _ = text.split("\n")  # the last line may be cut off while it is written
    for number, line in enumerate(whole, 1):
        try:
            record = json.loads(line)
            if record["kind"] == "training":
                for task, loss in record["loss_by_task"].items():
                    yield int(record["step"]), task, float(loss)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file}:{number}: damaged: {error}") from error
