"""Ending a run from outside: after the first signal the step is finished and saved, a second one ends it at once."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
from accelerate import Accelerator

from hyperformer_cli.errors import HyperformerError
from hyperformer_cli.observer import Observer

REPEATED_SECONDS = 2.0


class Stopped(HyperformerError):
    """A signal ended the run after it was saved. The exit code is the shell's for that signal: 130 or 143."""

    def __init__(self, signal_number: int, step: int):
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after step {step}; start again to continue")
        self.exit_code = 128 + signal_number


class StopRequest:
    """Which signal arrived, if any."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._since = 0.0

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Catches SIGINT and SIGTERM within the block."""
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def is_agreed(self, accelerator: Accelerator) -> bool:
        """Whether any process was sent a signal. All processes call this at the same point, and get the same answer."""
        if accelerator.num_processes == 1:
            return bool(self.signal_number)
        mine = torch.tensor([self.signal_number], device=accelerator.device)
        agreed = int(accelerator.gather(mine).max())
        if agreed:  # and only then: a signal may have arrived meanwhile
            self.signal_number = agreed
        return bool(agreed)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        # Launchers send a signal twice within a moment; a person who insists takes longer.
        if self.signal_number and time.monotonic() - self._since > REPEATED_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if not self.signal_number:
            self.signal_number, self._since = number, time.monotonic()


class EvaluationStopped(Exception):
    """A signal arrived between two batches of an evaluation."""


@dataclass(frozen=True)
class StoppableEvaluation(Observer):
    """Passes an evaluation's progress on, and raises EvaluationStopped where all processes know of a signal."""

    observer: Observer
    stop: StopRequest
    accelerator: Accelerator

    def evaluating(self, task: str, split: str, examples: int) -> None:
        self.observer.evaluating(task, split, examples)
        if self.accelerator.num_processes == 1:  # several have different numbers of batches
            self._stop_if_agreed()

    def task_evaluated(self, task: str, split: str) -> None:
        self.observer.task_evaluated(task, split)
        self._stop_if_agreed()

    def _stop_if_agreed(self) -> None:
        if self.stop.is_agreed(self.accelerator):
            raise EvaluationStopped
