"""Devices, precision and processes: one `Accelerator`, set up the same way for every command."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, PartialState
from accelerate.tracking import get_available_trackers
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs

from hyperformer_cli.config.sections import TrainingSection
from hyperformer_cli.engine.processes import refuse_other_engines
from hyperformer_cli.engine.together import COLLECTIVE_TIMEOUT
from hyperformer_cli.errors import InputError

LARGE = 100_000_000  # parameters of a backbone, from which on a CPU takes days for what a GPU takes hours


def make_accelerator(settings: TrainingSection, run: Path | None = None, trackers: Sequence[str] = ()) -> Accelerator:
    """The processes' common view of where they run.

    Args:
        settings: the device, its precision, and whether only deterministic kernels are used.
        run: the folder of trackers that write files.
        trackers: names of accelerate's trackers.

    Raises:
        InputError: a tracker that is not installed, what `refuse_other_engines` refuses, or a device that cannot be
            used here.
    """
    kind = usable_device(settings.device)
    if kind == "cuda":
        _choose_kernels(settings.deterministic, settings.tf32)
    # One process may run recipes of different precision, one after the other; accelerate keeps the first's.
    AcceleratorState._reset_state(reset_partial_state=_is_elsewhere(kind))
    refuse_other_engines()
    check_trackers(trackers)
    return Accelerator(
        cpu=kind == "cpu",
        # The loop accumulates by itself; accelerate would scale by what its launcher put into the environment.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        mixed_precision="bf16" if settings.precision == "bfloat16" else "no",
        log_with=list(trackers) or None,
        project_dir=run if trackers else None,
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=False, broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=COLLECTIVE_TIMEOUT),
        ],
    )


def _choose_kernels(deterministic: bool, tf32: bool) -> None:
    """A resumed run equals an uninterrupted one only where kernels are deterministic."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it
    # The backward passes of these attention kernels add in any order, under warn_only with no more than a warning.
    torch.backends.cuda.enable_mem_efficient_sdp(not deterministic)
    torch.backends.cuda.enable_cudnn_sdp(not deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def usable_device(wanted: str) -> str:
    """`cpu`, `cuda` or `mps`: the one that is wanted, or for `auto` the best that torch can use here.

    Raises:
        InputError: torch cannot use it, and why.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError(f"training.device: cuda cannot be used: {why_no_gpu()}")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise InputError("training.device: mps cannot be used: torch finds no GPU of Apple's here")
    if wanted == "mps" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("training.device: mps cannot be used by several processes; use one")
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return "mps" if torch.backends.mps.is_available() and not several else "cpu"


def why_no_gpu() -> str:
    """Why torch uses no NVIDIA or AMD GPU, in words."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA; install a build with it"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return "it finds no GPU (see CUDA_VISIBLE_DEVICES and nvidia-smi)"


def describe_devices(accelerator: Accelerator, settings: TrainingSection) -> str:
    """Device, precision and processes, for people."""
    device, processes = accelerator.device, accelerator.num_processes
    name = str(device.type)
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        threads = torch.get_num_threads()
        name = f"CPU, {threads} thread{'s' * (threads > 1)}"
    tf32 = " (TF32)" if device.type == "cuda" and settings.tf32 else ""
    return f"{name}, {settings.precision}{tf32}, {processes} process{'es' * (processes > 1)}"


def device_warnings(accelerator: Accelerator, settings: TrainingSection, parameters: int) -> list[str]:
    """What a person should know before waiting for a run on this device, with a backbone of so many parameters."""
    kind, found = accelerator.device.type, []
    if kind == "cpu" and torch.version.cuda is not None and not torch.cuda.is_available():
        found.append(f"torch has CUDA but cannot use it: {why_no_gpu()}")
    if kind == "cpu" and parameters >= LARGE:
        found.append(
            f"no GPU is used for a backbone of {parameters / 1e6:,.0f} million parameters: a step on the CPU takes "
            "many times what it takes on a GPU"
        )
    if settings.compile or kind == "mps" or (kind == "cuda" and not settings.deterministic):
        found.append("a run that is stopped and resumed is not promised to end bit for bit as an undisturbed one")
    return found


def _is_elsewhere(kind: str) -> bool:
    """Whether an accelerator made before in this process, which has no others, runs on another device."""
    shared = PartialState._shared_state
    return bool(shared) and shared.get("num_processes") == 1 and shared["device"].type != kind


def check_trackers(trackers: Sequence[str]) -> None:
    """Raises InputError for a tracker that is not installed."""
    missing = set(trackers) - {str(tracker) for tracker in get_available_trackers()}
    if missing:
        raise InputError(f"training.report_to: {min(missing)} is not installed")
