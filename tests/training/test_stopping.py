"""Which signals stop a run, and which of a second one end it at once."""

import os
import signal
import subprocess
import sys

import pytest

from hyperformer_cli.training import stopping
from hyperformer_cli.training.stopping import Stopped, StopRequest


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)])
def test_the_exit_code_of_a_signal(number: int, code: int) -> None:
    with StopRequest().listening() as stop:
        os.kill(os.getpid(), number)
        assert Stopped(stop.signal_number, 3).exit_code == code


def test_a_time_limit_that_follows_its_notice_does_not_end_the_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "REPEATED_SECONDS", -1.0)  # every signal is late
    with StopRequest().listening() as stop:
        for number in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        assert stop.signal_number == signal.SIGTERM


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_a_person_who_insists_ends_it(second: str) -> None:
    program = (
        "import os, signal\nfrom hyperformer_cli.training import stopping\nstopping.REPEATED_SECONDS = -1.0\n"
        f"with stopping.StopRequest().listening():\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        f"    os.kill(os.getpid(), signal.{second})\n    print('goes on')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -getattr(signal, second) and not done.stdout
