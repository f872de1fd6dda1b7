"""Several processes: what they must have in common before they begin, and what the first one does for all."""

import contextlib
import hashlib
import json
import os
import pickle
import secrets
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from hyperformer_cli.errors import HyperformerError, InputError

T = TypeVar("T")

_OTHER_ENGINES = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}
_PACKAGES = ("torch", "transformers", "accelerate")
_SECONDS_UNTIL_SEEN = 15.0  # network file systems show a new file late


def refuse_other_engines() -> None:
    """Refuses what `accelerate launch` may ask for and training would not do.

    Raises:
        InputError: FSDP, DeepSpeed or Megatron-LM.
    """
    for variable, name in _OTHER_ENGINES.items():
        if os.environ.get(variable, "").lower() in ("1", "true", "yes", "y", "on", "t"):
            raise InputError(
                f"{variable}: {name} is not supported: what is trained is small, use DDP (torchrun, --nproc-per-node); "
                "training.shard_backbone=true divides a large frozen backbone among the processes"
            )


def code_version() -> dict[str, str]:
    """A digest of this package's source files, and the versions of the libraries below it."""
    package, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes())
    return {"version of hyperformer": digest.hexdigest()[:16]} | {
        f"version of {name}": metadata.version(name) for name in _PACKAGES
    }


def launch() -> str:
    """Names the start that this process belongs to: a step of a SLURM job, or a launcher's run."""
    variables = ("SLURM_JOB_ID", "SLURM_STEP_ID", "TORCHELASTIC_RUN_ID", "WORLD_SIZE")
    return " ".join(f"{name}={os.environ[name]}" for name in variables if name in os.environ)


def check_same(accelerator: Accelerator, facts: Mapping[str, Any]) -> None:
    """Compares what should be the same in all processes.

    Args:
        accelerator: of all of them.
        facts: such as the recipe, under the words by which a message calls them. What is not text is compared, and
            shown, by a digest of its JSON.

    Raises:
        InputError: in every process, if one differs from the first.
    """
    if accelerator.num_processes == 1:
        return
    first, *others = gather_object([{name: _short(fact) for name, fact in facts.items()}])
    for rank, own in enumerate(others, start=1):
        for name in facts:
            if own.get(name) != first.get(name):
                raise InputError(
                    f"the processes do not belong together: the {name} is {own.get(name)} in process {rank} and "
                    f"{first.get(name)} in process 0. Two runs at one MASTER_ADDR and MASTER_PORT mix like this, and "
                    "nodes with other files"
                )


def _short(fact: Any) -> str:
    if isinstance(fact, str):
        return fact
    return hashlib.sha256(json.dumps(fact, sort_keys=True).encode()).hexdigest()[:16]


def check_shared(accelerator: Accelerator, folder: Path) -> None:
    """Ensures that all processes see one folder: the first writes a file into it, or into what is there of its path.

    Raises:
        InputError: in every process, if one does not see the file, or it cannot be written.
    """
    if accelerator.num_processes == 1:
        return
    path = Path(os.path.abspath(folder))
    places = [path, *path.parents]

    def write() -> tuple[int, str]:
        level = next(level for level, place in enumerate(places) if place.is_dir())
        token = places[level] / f".hyperformer-{secrets.token_hex(8)}.tmp"
        try:
            token.touch(exist_ok=False)
        except OSError as error:
            raise InputError(f"output_dir {folder}: cannot be written: {error.strerror}") from error
        return level, token.name

    level, name = first_does(accelerator, write)
    place = places[min(level, len(places) - 1)]
    answers = gather_object([(_appears(place, name), os.uname().nodename)])
    if accelerator.is_main_process:
        (place / name).unlink()
    blind = [f"process {rank} on {host}" for rank, (sees, host) in enumerate(answers) if not sees]
    if blind:
        raise InputError(
            f"output_dir {folder}: not the same folder for all processes: {', '.join(blind)} did not see what "
            f"process 0 on {answers[0][1]} wrote there; choose one on a file system that all nodes share"
        )


def _appears(folder: Path, name: str) -> bool:
    """Whether a file is in a folder, or soon will be."""
    deadline = time.monotonic() + _SECONDS_UNTIL_SEEN
    while True:
        with contextlib.suppress(OSError):
            if name in os.listdir(folder):  # which makes a network file system look again
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)


def first_does(accelerator: Accelerator, action: Callable[[], T]) -> T:
    """Does something in the first process; all get its result, or raise its error.

    Raises:
        HyperformerError: what the action raised. Other errors are raised in the first process only.
    """
    if accelerator.num_processes == 1:
        return action()
    outcome: list = [None, None]
    if accelerator.is_main_process:
        try:
            outcome[0] = action()
        except HyperformerError as error:
            outcome[1] = error if _travels(error) else _plain(error)
            broadcast_object_list(outcome)
            raise
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def _travels(error: HyperformerError) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except TypeError:  # its own __init__ takes other arguments
        return False


def _plain(error: HyperformerError) -> HyperformerError:
    plain = HyperformerError(str(error))
    plain.exit_code = error.exit_code
    return plain
