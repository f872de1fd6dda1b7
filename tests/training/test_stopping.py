"""Which signals stop a run, and which of a second one end it at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hyperformer_cli.config.sections import TrainingSection
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.training import stopping
from hyperformer_cli.training.stopping import Stopped, StopRequest

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from ranks import in_processes


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


def agree(signals: list[int]) -> list[bool]:
    """What one of two processes is told at each step; the second gets a signal at one of them."""
    accelerator = make_accelerator(TrainingSection())
    told = []
    with StopRequest().listening() as stop:
        for number in signals:
            if number and accelerator.process_index == 1:
                os.kill(os.getpid(), number)
            told.append(stop.is_agreed(accelerator))
        assert stop.signal_number == max(signals)
    return told


@pytest.mark.slow
def test_all_processes_hear_of_a_signal_of_one_at_the_same_step(tmp_path: Path) -> None:
    for told in in_processes(agree, 2, tmp_path, [0, 0, signal.SIGUSR1, 0]):
        assert told == [False, False, True, True]
