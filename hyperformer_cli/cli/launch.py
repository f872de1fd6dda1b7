"""Several processes: started here with torchrun's own engine, or described by the environment variables of SLURM."""

import logging
import os
import re
import sys
from pathlib import Path

import typer


def become_launcher(processes: int) -> None:
    """Starts this command in several processes, waits, and exits with the code of the first process that failed.

    The processes know by RANK that they are not to start others. Signals are passed on to them; they then have 30
    seconds to save.
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
        run_id="hyperformer",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "hyperformer_cli", *sys.argv[1:])
    except ChildFailedError as error:
        raise typer.Exit(min(error.failures.values(), key=lambda failure: failure.timestamp).exitcode) from None
    except SignalException as error:
        raise typer.Exit(128 + error.sigval) from None
    raise typer.Exit


def _import_as_here() -> None:
    """Makes `python -m` import this very package, and nothing from the current folder, such as an `evaluate.py`."""
    package = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), package)))
    os.environ["PYTHONSAFEPATH"] = "1"


def adopt_slurm_environment() -> None:
    """Sets the environment variables that torch reads in the processes of `srun`, unless a launcher has set them."""
    environment = os.environ
    if "RANK" in environment or "SLURM_STEP_ID" not in environment or int(environment.get("SLURM_NTASKS", "1")) < 2:
        return
    environment["RANK"], environment["WORLD_SIZE"] = environment["SLURM_PROCID"], environment["SLURM_NTASKS"]
    environment["LOCAL_RANK"] = environment["SLURM_LOCALID"]
    environment.setdefault("MASTER_ADDR", first_host(environment["SLURM_STEP_NODELIST"]))
    environment.setdefault("MASTER_PORT", str(20000 + int(environment["SLURM_JOB_ID"]) % 20000))


def first_host(nodes: str) -> str:
    """The first host of a list as SLURM writes it: `gpu03` of `gpu[03-05,9],login1`."""
    return re.sub(r"^([^,\[]+)(?:\[([^,\]-]+))?.*", r"\1\2", nodes)
