"""Ending a run from outside: after the first signal the step is finished and saved, a second one ends it at once."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
from accelerate import Accelerator
from torch import distributed

from hyperformer_cli.engine.together import COLLECTIVE_TIMEOUT
from hyperformer_cli.errors import HyperformerError
from hyperformer_cli.observer import Observer

REPEATED_SECONDS = 2.0
_CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Stopped(HyperformerError):
    """A signal ended the run after it was saved. The exit code is the shell's for SIGINT or SIGTERM: 130 or 143."""

    def __init__(self, signal_number: int, step: int):
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after step {step}; start again to continue")
        self.exit_code = 130 if signal_number == signal.SIGINT else 143


class StopRequest:
    """Which signal arrived, if any."""

    def __init__(self) -> None:
        self.signal_number = 0
        self._since = 0.0
        self._group: distributed.ProcessGroup | None = None

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Catches SIGINT, SIGTERM and SIGUSR1 within the block; clusters send the last ahead of a time limit."""
        before = {number: signal.signal(number, self._receive) for number in _CAUGHT}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._group is not None:
                distributed.destroy_process_group(self._group)
                self._group = None

    def is_agreed(self, accelerator: Accelerator) -> bool:
        """Whether any process was sent a signal. All processes call this at the same point, and get the same answer.

        They agree over a group of their own, from host to host: no device is waited for.
        """
        if accelerator.num_processes == 1:
            return bool(self.signal_number)
        if self._group is None:
            self._group = distributed.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
        flag = torch.tensor(self.signal_number)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX, group=self._group)
        agreed = int(flag)
        if agreed and agreed != self.signal_number:  # if none: a signal may have arrived meanwhile
            self.signal_number, self._since = agreed, time.monotonic()  # this process may get the same in a moment
        return bool(agreed)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        # Launchers send a signal twice within a moment; a person who insists takes longer. A cluster that gave notice
        # by SIGUSR1 sends SIGTERM when the time is up, and still waits.
        if not self.signal_number or (self.signal_number == signal.SIGUSR1 != number):
            self.signal_number, self._since = number, time.monotonic()
        elif number != signal.SIGUSR1 and time.monotonic() - self._since > REPEATED_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


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
        self._stop_if_agreed()  # all processes have as many batches

    def task_evaluated(self, task: str, split: str) -> None:
        self.observer.task_evaluated(task, split)
        self._stop_if_agreed()

    def _stop_if_agreed(self) -> None:
        if self.stop.is_agreed(self.accelerator):
            raise EvaluationStopped
