"""Losses by task since the last line of the log, and the gradient norm: on the device, so that no step waits."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator

from hyperformer_cli.engine.step import StepResult
from hyperformer_cli.errors import HyperformerError


class LossMeter:
    """Sums of token losses and counts of tokens, by task.

    Attributes:
        gradient_norm: of the last step.
        examples, seconds: since the last line of the log.
    """

    def __init__(self, tasks: Sequence[str], device: torch.device):
        self._tasks = tasks
        self._sums = torch.zeros(2, len(tasks), device=device, dtype=torch.float64)  # losses, tokens
        self._finite = torch.tensor(True, device=device)
        self.gradient_norm = torch.tensor(0.0)
        self.examples, self.seconds = 0, 0.0

    def as_dict(self, accelerator: Accelerator) -> dict[str, Any]:
        """The sums of all processes, for a checkpoint."""
        sums = accelerator.reduce(self._sums, "sum").tolist()
        return {"sums": sums, "examples": self.examples, "seconds": self.seconds}

    def restore(self, stored: dict[str, Any] | None) -> None:
        """Continues from what `as_dict` returned."""
        if stored is not None:
            self._sums.copy_(torch.tensor(stored["sums"], dtype=torch.float64))
            self.examples, self.seconds = stored["examples"], stored["seconds"]

    def add(self, step: StepResult, examples: int) -> None:
        """Adds this process's rows of a step, and the number of examples of all processes."""
        rows, self.gradient_norm = step.rows, step.gradient_norm
        self.examples += examples
        self._sums.index_add_(1, rows.task_ids, torch.stack([rows.losses, rows.tokens]).to(self._sums.dtype))
        self._finite &= rows.losses.isfinite().all()

    def check_finite(self, step: int) -> None:
        """Stops a run before a value that is not finite reaches a checkpoint.

        Raises:
            HyperformerError: a loss so far, or the gradient norm, is infinite or NaN.
        """
        if not (bool(self._finite) and bool(self.gradient_norm.isfinite())):
            raise HyperformerError(
                f"the loss or its gradient is not finite at step {step} (or shortly before); the last checkpoint is "
                "from before. Lower training.learning_rate, or use training.precision=float32"
            )

    def read(self, accelerator: Accelerator) -> dict[str, Any]:
        """Mean loss per token, overall and by task, and examples per second, over all processes; then starts again."""
        losses, tokens = accelerator.reduce(self._sums, "sum").tolist()
        by_task = zip(self._tasks, losses, tokens, strict=True)
        record = {
            "loss": _mean(sum(losses), sum(tokens)),
            "loss_by_task": {task: _mean(loss, count) for task, loss, count in by_task if count},
            "examples_per_second": round(self.examples / max(self.seconds, 1e-9), 2),
        }
        self._sums.zero_()
        self.examples, self.seconds = 0, 0.0
        return record


def _mean(total: float, count: float) -> float:
    return round(total / max(count, 1), 6)
