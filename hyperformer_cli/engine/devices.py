"""Devices, precision and processes: one `Accelerator`, set up the same way for every command."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import GradientAccumulationPlugin

from hyperformer_cli.errors import InputError


def make_accelerator(precision: str, run: Path | None = None, trackers: Sequence[str] = ()) -> Accelerator:
    """The processes' common view of where they run.

    Args:
        precision: `float32`, or `bfloat16` for autocast.
        run: the folder of trackers that write files.
        trackers: names of accelerate's trackers.

    Raises:
        InputError: a tracker that is not installed, or FSDP.
    """
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        # A resumed run equals an uninterrupted one only where kernels are deterministic.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    # One process may run recipes of different precision, one after the other; accelerate keeps the first's.
    AcceleratorState._reset_state(reset_partial_state=False)
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true"):
        raise InputError("FSDP is not supported: what is trained is small, use DDP (torchrun, --nproc-per-node)")
    check_trackers(trackers)
    return Accelerator(
        cpu=not has_gpu,
        # The loop accumulates by itself; accelerate would scale by what its launcher put into the environment.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        mixed_precision="bf16" if precision == "bfloat16" else "no",
        log_with=list(trackers) or None,
        project_dir=run if trackers else None,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=False, broadcast_buffers=False)],
    )


def check_trackers(trackers: Sequence[str]) -> None:
    """Raises InputError for a tracker that is not installed."""
    missing = set(trackers) - {str(tracker) for tracker in get_available_trackers()}
    if missing:
        raise InputError(f"training.report_to: {min(missing)} is not installed")
