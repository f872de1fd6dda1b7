"""The state of a run besides its weights; saving and restoring all of it bit for bit."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.runs import checkpoints
from hyperformer_cli.runs.checkpoints import Checkpoint
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.weights import write_weights
from hyperformer_cli.storage.atomic import atomic_path
from hyperformer_cli.storage.manifest import check_files, read_manifest
from hyperformer_cli.storage.trained import WEIGHTS_FILE, copy_tensors, read_tensors, write_tensors
from hyperformer_cli.training.setup import Setup

_BEST = "best"  # the file of a checkpoint with the best weights so far, where these are not its own


@dataclass
class RunState:
    """The place that a run has reached.

    Attributes:
        step: optimizer steps made.
        evaluated: the last step that was evaluated; an interrupted evaluation is repeated.
        best: the best evaluation so far; see `selection.best_record`.
        evaluations_since_best: those since then, none of them better.
        seconds: spent training and evaluating, over all starts.
        meter: losses since the last line of the log, of all processes.
    """

    step: int = 0
    evaluated: int = 0
    best: dict[str, Any] | None = None
    evaluations_since_best: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "evaluation": 0.0})
    meter: dict[str, Any] | None = None


def save_checkpoint(run: Path, state: RunState, setup: Setup, keep: int) -> None:
    """Writes a checkpoint: every process adds its random state, the first one everything else.

    It has a copy of the best weights so far, so that `best/` can be restored to what it was at this step.
    """
    accelerator, rank = setup.accelerator, setup.accelerator.process_index
    parameters, folder = setup.model.trained_parameters(), checkpoints.pending_folder(run, state.step)
    optimizer, source = setup.optimizer.state_dict(), setup.model.source
    if accelerator.is_main_process:
        write_tensors(folder / "trained.safetensors", parameters)
        write_tensors(folder / "optimizer.safetensors", _by_name(_in_optimizer(setup), optimizer["state"]))
        if state.best is not None and state.best["step"] != state.step:
            best = run / "best" / WEIGHTS_FILE
            if not best.is_file():
                raise HyperformerError(f"{best} has gone; start again to restore it from the last checkpoint")
            check_files(best.parent, lambda file: file == WEIGHTS_FILE)
            with atomic_path(folder / f"{_BEST}.safetensors") as copy:
                shutil.copyfile(best, copy)
    accelerator.wait_for_everyone()
    write_tensors(folder / f"rng-{rank}.safetensors", _random_states())
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        scalars = {
            "run": asdict(state),
            "world_size": accelerator.num_processes,
            "backbone": {**source.as_dict(), "frozen_sha256": None if source.is_pinned else setup.frozen_sha256},
            "data": setup.fingerprints(),
            "optimizer": [{k: v for k, v in group.items() if k != "params"} for group in optimizer["param_groups"]],
            "scheduler": setup.schedule.state_dict(),
        }
        checkpoints.commit(run, state.step, scalars, keep)
    accelerator.wait_for_everyone()


def restore_checkpoint(checkpoint: Checkpoint, setup: Setup) -> RunState:
    """Restores weights, optimizer, schedule and random state; returns the rest.

    Raises:
        InputError: the model's branch has moved since, the backbone's weights or the data have changed, or the
            checkpoint is of another release.
    """
    try:
        return _restore(checkpoint, checkpoint.state(), setup)
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{checkpoint.path}: not a checkpoint that this release can continue ({type(error).__name__}: {error}); "
            "remove it to continue from the one before"
        ) from error


def _restore(checkpoint: Checkpoint, scalars: Mapping[str, Any], setup: Setup) -> RunState:
    state = RunState(**scalars["run"])
    if state.step != checkpoint.step:
        raise InputError(f"{checkpoint.path}: holds step {state.step}; give it back its name, or remove it")
    _check_backbone(checkpoint, scalars["backbone"], setup)
    _check_data(checkpoint, scalars.get("data", {}), setup)
    parameters, groups = setup.model.trained_parameters(), setup.optimizer.state_dict()["param_groups"]
    copy_tensors(checkpoint.file("trained"), parameters)
    groups = [own | stored for own, stored in zip(groups, scalars["optimizer"], strict=True)]
    moments = _by_number(_in_optimizer(setup), read_tensors(checkpoint.file("optimizer")))
    setup.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    # Checkpoints of earlier releases hold a part of the schedule's state.
    setup.schedule.load_state_dict({**setup.schedule.state_dict(), **scalars["scheduler"]})
    if scalars["world_size"] == setup.accelerator.num_processes:
        states = read_tensors(checkpoint.file(f"rng-{setup.accelerator.process_index}"))
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and setup.accelerator.device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"])
    return state


def _check_backbone(checkpoint: Checkpoint, recorded: Mapping[str, Any], setup: Setup) -> None:
    source = setup.model.source
    if recorded["revision"] != source.revision:
        raise InputError(
            f"{checkpoint.path}: trained on commit {recorded['revision']} of the model, which is now "
            f"{source.revision}; set model.revision"
        )
    before = recorded.get("frozen_sha256")  # checkpoints of earlier releases have none
    if before is not None and not source.is_pinned and before != setup.frozen_sha256:
        what = "a random draw that differs here" if source.init == "random" else "they have changed since"
        raise InputError(
            f"{checkpoint.path}: the frozen weights of model '{source.name}' are not those it was trained on "
            f"({what}); put them back, or train anew in another output_dir"
        )


def _check_data(checkpoint: Checkpoint, recorded: Mapping[str, Mapping[str, str]], setup: Setup) -> None:
    for task, now in setup.fingerprints().items():
        before = recorded.get(task, {})  # nothing in checkpoints of earlier releases
        for split in now:
            if before.get(split, now[split]) != now[split]:
                raise InputError(
                    f"{checkpoint.path}: the data of task '{task}' for {split} have changed since; put them back, or "
                    "train anew in another output_dir"
                )


def restore_best(checkpoint: Checkpoint, run: RunFolder, state: RunState, setup: Setup) -> bool:
    """Makes `best/` what it was at a checkpoint, if it is not; returns whether it had to.

    Raises:
        InputError: it is missing or damaged, and the checkpoint, of an earlier release, has no copy.
    """
    if state.best is None:
        return False
    copy = checkpoint.file("trained" if state.best["step"] == state.step else _BEST)
    if not copy.is_file():
        if not (run.best / WEIGHTS_FILE).is_file():
            raise InputError(
                f"{run.best}: missing, and {checkpoint.path.name} of an earlier release holds no copy of it; put it "
                "back, or train anew in another output_dir"
            )
        check_files(run.best)
        return False
    try:
        check_files(run.best)
        recorded = (read_manifest(run.best) or {}).get(WEIGHTS_FILE)
        if recorded == (read_manifest(checkpoint.path) or {})[copy.name]:
            return False
    except InputError:
        pass
    write_weights(run.best, setup.description, read_tensors(copy), setup.tokenization.tokenizer)
    return True


def _in_optimizer(setup: Setup) -> list[str]:
    """The names of the trained parameters in the order in which torch numbers them: group by group."""
    names = {id(parameter): name for name, parameter in setup.model.trained_parameters().items()}
    return [names[id(parameter)] for group in setup.optimizer.param_groups for parameter in group["params"]]


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
