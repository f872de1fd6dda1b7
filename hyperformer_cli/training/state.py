"""What a run is besides its weights, and how all of it goes into a checkpoint and comes back bit for bit."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from hyperformer_cli.errors import InputError
from hyperformer_cli.runs import checkpoints
from hyperformer_cli.runs.checkpoints import Checkpoint
from hyperformer_cli.storage.trained import detached
from hyperformer_cli.training.setup import Setup

_SCHEDULER_KEYS = ("last_epoch", "_step_count", "_last_lr")


@dataclass
class RunState:
    """Where a run stands.

    Attributes:
        step: optimizer steps made.
        evaluated: the last step that was evaluated; an evaluation that was cut off is done again.
        best: step, metric and score of the best evaluation so far.
        seconds: spent training and evaluating, over all starts.
        meter: losses since the last log line, of all processes.
    """

    step: int = 0
    evaluated: int = 0
    best: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "evaluation": 0.0})
    meter: dict[str, Any] | None = None


def save_checkpoint(run: Path, state: RunState, setup: Setup, keep: int) -> None:
    """Every process adds its random state, the first one all the rest; then the checkpoint exists."""
    accelerator, rank = setup.accelerator, setup.accelerator.process_index
    if accelerator.is_main_process:
        with checkpoints.fresh_pending_folder(run, state.step) as folder:
            checkpoints.write_part(folder, "trained", detached(setup.adapted.trained_parameters()))
            checkpoints.write_part(folder, "optimizer", _optimizer_tensors(setup))
    accelerator.wait_for_everyone()
    checkpoints.write_part(checkpoints.pending_folder(run, state.step), f"rng-{rank}", _random_states())
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        scalars = {
            "run": asdict(state),
            "world_size": accelerator.num_processes,
            "backbone": setup.adapted.source.as_dict(),
            "optimizer": [{k: v for k, v in group.items() if k != "params"} for group in setup.optimizer.param_groups],
            "scheduler": {key: getattr(setup.scheduler, key) for key in _SCHEDULER_KEYS},
        }
        checkpoints.commit(run, state.step, scalars, keep)
    accelerator.wait_for_everyone()


def restore_checkpoint(checkpoint: Checkpoint, setup: Setup) -> RunState:
    """Puts weights, optimizer, schedule and random state back; returns where the run stands.

    Raises:
        InputError: the model's branch has moved since.
    """
    scalars = checkpoint.state()
    revision, now = scalars["backbone"]["revision"], setup.adapted.source.revision
    if revision != now:
        raise InputError(
            f"{checkpoint.path}: trained on commit {revision} of the model, which is now {now}; set model.revision"
        )
    parameters = setup.adapted.trained_parameters()
    with torch.no_grad():
        for name, value in checkpoint.tensors("trained").items():
            parameters[name].copy_(value)
    _restore_optimizer(setup.optimizer, parameters, checkpoint.tensors("optimizer"), scalars["optimizer"])
    _restore_scheduler(setup.scheduler, scalars["scheduler"])
    rank = setup.accelerator.process_index
    if scalars["world_size"] == setup.accelerator.num_processes:
        _restore_random_states(checkpoint.tensors(f"rng-{rank}"), setup.accelerator)
    return RunState(**scalars["run"])


def _optimizer_tensors(setup: Setup) -> dict[str, Tensor]:
    return {
        f"{name}:{key}": value.detach().cpu().contiguous()
        for name, parameter in setup.adapted.trained_parameters().items()
        for key, value in setup.optimizer.state.get(parameter, {}).items()
    }


def _restore_optimizer(
    optimizer: torch.optim.Optimizer,
    parameters: dict[str, torch.nn.Parameter],
    tensors: dict[str, Tensor],
    groups: list[dict[str, Any]],
) -> None:
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition(":")
        parameter = parameters[name]
        # Step counts stay on the CPU, where torch keeps them; moments go to their parameter.
        optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)
    for group, stored in zip(optimizer.param_groups, groups, strict=True):
        group.update({key: tuple(value) if key == "betas" else value for key, value in stored.items()})


def _restore_scheduler(scheduler: LRScheduler, stored: dict[str, Any]) -> None:
    for key in _SCHEDULER_KEYS:
        setattr(scheduler, key, stored[key])


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random_states(states: dict[str, Tensor], accelerator: Accelerator) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and accelerator.device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"])
