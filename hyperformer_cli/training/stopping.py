"""Ending a run from outside: the first signal lets the step finish and saves, the second ends at once."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hyperformer_cli.errors import HyperformerError

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

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        # Launchers send a signal twice within a moment; a person who insists takes longer.
        if self.signal_number and time.monotonic() - self._since > REPEATED_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if not self.signal_number:
            self.signal_number, self._since = number, time.monotonic()
