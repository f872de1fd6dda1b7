"""Processes that wait for the first, and end with the one that fails: real ones, over gloo."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, time
from datetime import timedelta
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
import torch
from hyperformer_cli.engine.together import ends_with_the_others, main_process_first
from hyperformer_cli.errors import HyperformerError

accelerator = Accelerator(cpu=True, kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=4))])
rank, what = accelerator.process_index, sys.argv[1]
try:
    with main_process_first(accelerator):
        if rank == 0 and what == "slow":
            time.sleep(10)  # longer than a collective may take
        if rank == 0 and what == "first fails":
            raise HyperformerError("no such data")
        if rank == 0 and what == "first dies":
            os.kill(os.getpid(), 9)
        print("through", rank, round(time.time(), 2), flush=True)
    with ends_with_the_others(accelerator):
        for step in range(1000):
            if rank == 1 and step == 5:
                print("fails", time.time(), flush=True)
                if what == "error":
                    raise HyperformerError("the disk is gone")
                if what == "bug":
                    raise ZeroDivisionError("one by none")
                if what == "kill":
                    os.kill(os.getpid(), 9)
                if what == "slow":
                    break
            if rank == 0 and step == 5 and what == "slow":
                break
            if rank == 0 and step == 4 and what == "hangs and error":
                time.sleep(600)
            if rank == 1 and step == 4 and what == "hangs and error":
                raise HyperformerError("the disk is gone")
            accelerator.reduce(torch.ones(1))
except HyperformerError as error:
    print("error:", error, flush=True)
    os._exit(1)
print("end", rank, flush=True)
"""


def run_two(what: str, tmp_path: Path) -> tuple[list[str], list[int], float]:
    """What both printed, their exit codes, and the seconds until the last of them had ended after the failure."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = []
    for rank in ("0", "1"):
        environment = {
            **os.environ, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port, "PYTHONPATH": str(Path(__file__).parents[2]),
        }  # fmt: skip
        command = [sys.executable, "-c", PROGRAM, what]
        out = (tmp_path / rank).open("w")
        processes.append(subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT))
    codes = [process.wait(240) for process in processes]
    ended = time.time()
    said = [(tmp_path / rank).read_text() for rank in ("0", "1")]
    failed = [float(line.split()[1]) for line in said[1].splitlines() if line.startswith("fails")]
    return said, codes, ended - (failed[0] if failed else ended)


@pytest.mark.slow
def test_the_others_wait_longer_than_a_collective_may(tmp_path: Path) -> None:
    said, codes, _ = run_two("slow", tmp_path)
    assert codes == [0, 0], said
    times = [float(line.split()[2]) for text in said for line in text.splitlines() if line.startswith("through")]
    assert times[0] <= times[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "said_by_first", "codes"),
    [
        ("error", "error: process 1: the disk is gone", [1, 1]),
        ("bug", "error: process 1: ZeroDivisionError: one by none", [1, 1]),
        ("kill", "error: another process has gone", [1, -signal.SIGKILL]),
        ("hangs and error", "error: process 1: the disk is gone", [1, 1]),
    ],
)
def test_a_failure_of_one_ends_all_with_its_message(
    what: str, said_by_first: str, codes: list[int], tmp_path: Path
) -> None:
    said, found, seconds = run_two(what, tmp_path)
    assert found == codes, said
    assert said_by_first in said[0] and "Traceback" not in said[0]
    assert seconds < 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "said_by_second"),
    [("first fails", "error: no such data"), ("first dies", "error: the first process has gone")],
)
def test_the_others_do_not_wait_for_a_first_that_has_failed(what: str, said_by_second: str, tmp_path: Path) -> None:
    said, codes, _ = run_two(what, tmp_path)
    assert said_by_second in said[1] and "through" not in said[1]
    assert codes[1] == 1
