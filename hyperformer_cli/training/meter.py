"""Losses by task since the last line of the log, and the gradient norm: on the device, so that no step waits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from hyperformer_cli.engine.step import PreparedStep, StepResult
from hyperformer_cli.errors import HyperformerError


class LossMeter:
    """Sums of token losses and counts of tokens, by task.

    Attributes:
        gradient_norm: of the last step.
        examples, seconds: of all processes, since the last line of the log.
    """

    def __init__(self, tasks: Sequence[str], device: torch.device):
        self._tasks = tasks
        self._sums = torch.zeros(2, len(tasks), device=device, dtype=torch.float64)  # losses, tokens
        self._finite = torch.tensor(True, device=device)
        self.gradient_norm = torch.tensor(0.0)
        self._inputs = np.zeros(2)  # tokens of this process's inputs, without and with padding
        self.examples, self.seconds = 0, 0.0

    def as_dict(self, accelerator: Accelerator) -> dict[str, Any]:
        """The sums of all processes, for a checkpoint."""
        sums = accelerator.reduce(self._sums, "sum").tolist()
        inputs = self._inputs_of_all(accelerator).tolist()
        return {"sums": sums, "inputs": inputs, "examples": self.examples, "seconds": self.seconds}

    def _inputs_of_all(self, accelerator: Accelerator) -> Tensor:
        return accelerator.reduce(torch.from_numpy(self._inputs).to(self._sums), "sum")

    def restore(self, stored: dict[str, Any] | None) -> None:
        """Continues from what `as_dict` returned."""
        if stored is not None:
            self._sums.copy_(torch.tensor(stored["sums"], dtype=torch.float64))
            self._inputs = np.array(stored.get("inputs", [0.0, 0.0]))  # none in checkpoints of earlier releases
            self.examples, self.seconds = stored["examples"], stored["seconds"]

    def add(self, step: PreparedStep, result: StepResult) -> None:
        """Adds this process's rows of a step."""
        rows, self.gradient_norm = result.rows, result.gradient_norm
        self.examples += step.examples
        self._inputs += step.input_tokens, step.padded_tokens
        task_ids, tokens = (tensor.to(self._sums.device, non_blocking=True) for tensor in (rows.task_ids, rows.tokens))
        self._sums.index_add_(1, task_ids, torch.stack([rows.losses, tokens]).to(self._sums.dtype))
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
        """Mean loss per token, overall and by task, examples per second, and padded over real tokens of the inputs.

        They are of all processes, since the last call.
        """
        inputs, padded = self._inputs_of_all(accelerator).tolist()
        losses, tokens = accelerator.reduce(self._sums, "sum").tolist()
        by_task = zip(self._tasks, losses, tokens, strict=True)
        record = {
            "loss": _mean(sum(losses), sum(tokens)),
            "loss_by_task": {task: _mean(loss, count) for task, loss, count in by_task if count},
            "examples_per_second": round(self.examples / max(self.seconds, 1e-9), 2),
            "padding": round(padded / max(inputs, 1), 3),
        }
        self._inputs[:] = 0
        self._sums.zero_()
        self.examples, self.seconds = 0, 0.0
        return record


def _mean(total: float, count: float) -> float:
    return round(total / max(count, 1), 6)
