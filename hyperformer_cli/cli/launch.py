"""Several processes: started here with torchrun's own engine, or described by the environment variables of SLURM."""

import hashlib
import logging
import os
import re
import signal
import sys
from pathlib import Path
from types import FrameType

import typer

from hyperformer_cli.errors import InputError

_OWN_RUN_ID = "hyperformer"  # how a process knows that it was started here
_FIRST_PORT, _PORTS = 16384, 16384  # below those that Linux gives to outgoing connections
_VISIBLE_GPUS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def become_launcher(processes: int) -> None:
    """Starts this command in several processes, waits, and exits with the code of the first process that failed.

    The processes know by RANK that they are not to start others. Signals are passed on to them, SIGUSR1 as SIGTERM;
    they then have 30 seconds to save.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the processes report their own errors
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    _import_as_here()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=_OWN_RUN_ID,
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "hyperformer_cli", *sys.argv[1:])
    except ChildFailedError as error:
        rank, failure = min(error.failures.items(), key=lambda item: item[1].timestamp)
        raise typer.Exit(report_failure(rank, processes, failure.exitcode)) from None
    except SignalException as error:
        raise typer.Exit(128 + error.sigval) from None
    raise typer.Exit


def report_failure(rank: int, processes: int, exit_code: int) -> int:
    """The launcher's exit code for a process that failed; says which it was if a signal ended it.

    A process that ended by itself has reported why.
    """
    if exit_code >= 0:
        return exit_code
    name = signal.Signals(-exit_code).name
    memory = "; the system does so when memory runs out" if -exit_code == signal.SIGKILL else ""
    typer.echo(f"error: process {rank} of {processes} was killed by {name}{memory}", err=True)
    return 128 - exit_code


def treat_usr1_as_term() -> None:
    """SIGUSR1, which clusters send ahead of a time limit, ends this process as SIGTERM would.

    Training catches both as soon as there is something to save.
    """
    signal.signal(signal.SIGUSR1, _as_term)


def _as_term(_number: int, _frame: FrameType | None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _import_as_here() -> None:
    """Makes `python -m` import this very package, and nothing from the current folder, such as an `evaluate.py`."""
    package = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), package)))
    os.environ["PYTHONSAFEPATH"] = "1"


def slurm_tasks() -> int:
    """How many processes `srun` started together with this one; 1 outside of it.

    SLURM_NTASKS is what a job may start. In the shell of `salloc`, a step of one process, it differs.
    """
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) if "SLURM_STEP_ID" in os.environ else 1


def adopt_slurm_environment() -> None:
    """Sets the environment variables that torch reads in the processes of `srun`, unless a launcher has set them."""
    environment = os.environ
    if "RANK" in environment or slurm_tasks() < 2:
        return
    environment["RANK"], environment["WORLD_SIZE"] = environment["SLURM_PROCID"], environment["SLURM_STEP_NUM_TASKS"]
    environment["LOCAL_RANK"] = str(_local_gpu(int(environment["SLURM_LOCALID"])))
    environment.setdefault("MASTER_ADDR", first_host(environment["SLURM_STEP_NODELIST"]))
    environment.setdefault("MASTER_PORT", str(step_port(environment["SLURM_JOB_ID"], environment["SLURM_STEP_ID"])))


def _local_gpu(local_id: int) -> int:
    """The number of a process's GPU among those it sees: with `--gpus-per-task=1` it sees its own only."""
    visible = next((os.environ[name].split(",") for name in _VISIBLE_GPUS if os.environ.get(name)), None)
    return local_id if visible is None else local_id % len(visible)


def step_port(job: str, step: str) -> int:
    """A port for the processes of a job's step; steps at one time, and neighbouring jobs, have others."""
    digest = hashlib.sha256(f"{job}.{step}".encode()).digest()
    return _FIRST_PORT + int.from_bytes(digest[:4], "big") % _PORTS


def first_host(nodes: str) -> str:
    """The first host of a list as SLURM writes it: `gpu03` of `gpu[03-05,9],login1`."""
    return re.sub(r"^([^,\[]+)(?:\[([^,\]-]+))?.*", r"\1\2", nodes)


def check_nproc(processes: int) -> bool:
    """Whether this process is to start `processes` others.

    Raises:
        InputError: it is one of several that another launcher has started.
    """
    if processes == 1:
        return False
    if "RANK" not in os.environ:
        return True
    if os.environ.get("TORCHELASTIC_RUN_ID") != _OWN_RUN_ID:
        started, launcher = os.environ.get("WORLD_SIZE", "1"), "srun" if slurm_tasks() > 1 else "a launcher"
        raise InputError(
            f"--nproc-per-node {processes}: {launcher} has started {started} processes already; leave the option out, "
            "and set their number there (srun --ntasks, torchrun --nproc-per-node)"
        )
    return False


def check_runs_alone(command: str) -> None:
    """For commands that do not share their work among processes.

    The processes of `srun` may each have an input of their own, so that they are only warned.

    Raises:
        InputError: torchrun or the like started several processes.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if "RANK" in os.environ and started > 1:
        raise InputError(f"'{command}' runs in one process, and a launcher has started {started}; start it directly")
    if slurm_tasks() > 1 and os.environ.get("SLURM_PROCID") == "0":
        typer.echo(
            f"warning: '{command}' does not share its work among processes: each of the {slurm_tasks()} that srun "
            "started does all of it. Use srun --ntasks 1, unless each has an input of its own",
            err=True,
        )
