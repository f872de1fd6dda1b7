"""Code that runs in several real processes, connected by gloo."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def in_processes(function: Callable[..., Any], processes: int, folder: Path, *arguments: Any) -> list[Any]:
    """What a module's function returns for its arguments in each of so many processes, which are ranks of one group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    files = [folder / f"rank-{rank}-of-{processes}.pt" for rank in range(processes)]
    started = [
        context.Process(target=_run, args=(function, rank, processes, port, file, arguments))
        for rank, file in enumerate(files)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(900)
    codes = [process.exitcode for process in started]
    for process in started:
        process.kill()
    assert codes == [0] * processes
    return [torch.load(file, weights_only=False) for file in files]


def _run(
    function: Callable[..., Any], rank: int, processes: int, port: int, file: Path, arguments: tuple[Any, ...]
) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    torch.set_num_threads(1)
    torch.save(function(*arguments), file)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
