"""Processes started as `srun` starts them: no launcher, only the variables of SLURM."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")


def start_task(
    arguments: Sequence[object], rank: int, tasks: int, folder: Path, job: str = "77", step: str = "0", **variables: str
) -> subprocess.Popen:
    """Starts one task of a step of a job in a folder."""
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHERS}
    environment |= {
        "SLURM_JOB_ID": job, "SLURM_STEP_ID": step, "SLURM_NTASKS": str(tasks), "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_STEP_NODELIST": "localhost",
    } | variables  # fmt: skip
    package = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, environment.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "hyperformer_cli", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    )


def start_step(
    arguments: Sequence[object], folder: Path, tasks: int = 2, variables: Mapping[str, str] | None = None, **names: str
) -> list[subprocess.Popen]:
    """Starts all tasks of a step, with further environment variables."""
    return [start_task(arguments, rank, tasks, folder, **names, **(variables or {})) for rank in range(tasks)]


def finish(processes: Sequence[subprocess.Popen], timeout: float = 240) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each; ends those that remain when one takes too long."""
    try:
        outputs = [process.communicate(timeout=timeout) for process in processes]
        return [(process.returncode, *texts) for process, texts in zip(processes, outputs, strict=True)]
    finally:
        for process in processes:
            process.kill()
