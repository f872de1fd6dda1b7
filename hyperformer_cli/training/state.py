"""The state of a run besides its weights; saving and restoring all of it bit for bit."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperformer_cli.errors import InputError
from hyperformer_cli.runs import checkpoints
from hyperformer_cli.runs.checkpoints import Checkpoint
from hyperformer_cli.storage.trained import copy_tensors, read_tensors, write_tensors
from hyperformer_cli.training.setup import Setup


@dataclass
class RunState:
    """The place that a run has reached.

    Attributes:
        step: optimizer steps made.
        evaluated: the last step that was evaluated; an interrupted evaluation is repeated.
        best: step and average of the best evaluation so far.
        seconds: spent training and evaluating, over all starts.
        meter: losses since the last line of the log, of all processes.
    """

    step: int = 0
    evaluated: int = 0
    best: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "evaluation": 0.0})
    meter: dict[str, Any] | None = None


def save_checkpoint(run: Path, state: RunState, setup: Setup, keep: int) -> None:
    """Writes a checkpoint: every process adds its random state, the first one everything else."""
    accelerator, rank = setup.accelerator, setup.accelerator.process_index
    parameters, folder = setup.model.trained_parameters(), checkpoints.pending_folder(run, state.step)
    optimizer = setup.optimizer.state_dict()
    if accelerator.is_main_process:
        write_tensors(folder / "trained.safetensors", parameters)
        write_tensors(folder / "optimizer.safetensors", _by_name(parameters, optimizer["state"]))
    accelerator.wait_for_everyone()
    write_tensors(folder / f"rng-{rank}.safetensors", _random_states())
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        scalars = {
            "run": asdict(state),
            "world_size": accelerator.num_processes,
            "backbone": setup.model.source.as_dict(),
            "optimizer": [{k: v for k, v in group.items() if k != "params"} for group in optimizer["param_groups"]],
            "scheduler": setup.schedule.state_dict(),
        }
        checkpoints.commit(run, state.step, scalars, keep)
    accelerator.wait_for_everyone()


def restore_checkpoint(checkpoint: Checkpoint, setup: Setup) -> RunState:
    """Restores weights, optimizer, schedule and random state; returns the rest.

    Raises:
        InputError: the model's branch has moved since.
    """
    scalars = checkpoint.state()
    revision, now = scalars["backbone"]["revision"], setup.model.source.revision
    if revision != now:
        raise InputError(
            f"{checkpoint.path}: trained on commit {revision} of the model, which is now {now}; set model.revision"
        )
    parameters, groups = setup.model.trained_parameters(), setup.optimizer.state_dict()["param_groups"]
    copy_tensors(checkpoint.file("trained"), parameters)
    groups = [own | stored for own, stored in zip(groups, scalars["optimizer"], strict=True)]
    state = _by_number(parameters, read_tensors(checkpoint.file("optimizer")))
    setup.optimizer.load_state_dict({"state": state, "param_groups": groups})
    # Checkpoints of earlier releases hold a part of the schedule's state.
    setup.schedule.load_state_dict({**setup.schedule.state_dict(), **scalars["scheduler"]})
    if scalars["world_size"] == setup.accelerator.num_processes:
        states = read_tensors(checkpoint.file(f"rng-{setup.accelerator.process_index}"))
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and setup.accelerator.device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"])
    return RunState(**scalars["run"])


def _by_name(parameters: Iterable[str], state: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """An optimizer's state under `parameter:key`; torch numbers the parameters in their order."""
    return {
        f"{name}:{key}": value for number, name in enumerate(parameters) for key, value in state.get(number, {}).items()
    }


def _by_number(parameters: Iterable[str], tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The reverse of `_by_name`."""
    numbers = {name: number for number, name in enumerate(parameters)}
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition(":")
        state.setdefault(numbers[name], {})[key] = value
    return state


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states
