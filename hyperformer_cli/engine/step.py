"""One optimizer step, the same for training and few-shot transfer: micro-batches, losses, gradients, update."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.layouts import IGNORED_LABEL
from hyperformer_cli.config.recipe import TrainingSection
from hyperformer_cli.data.sampling import Example, rank_slice
from hyperformer_cli.data.tokenization import TokenizedSplit
from hyperformer_cli.engine.loss import batch_losses

SplitsById = Mapping[int, TokenizedSplit]  # by task id


class RowLosses(NamedTuple):
    """Losses of some examples, on the model's device.

    Attributes:
        task_ids: (rows,).
        losses: (rows,), summed over each row's tokens.
        tokens: (rows,), the number of target tokens of each row.
    """

    task_ids: Tensor
    losses: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class LossFunction:
    """The forward pass of training: from examples to the losses of their rows.

    `wrapped_model` is what accelerate or torch.compile made of the model; else the model itself. `pad_id` fills
    up rows.
    """

    model: AdaptedModel
    wrapped_model: nn.Module
    pad_id: int
    accelerator: Accelerator

    def __call__(self, examples: Sequence[Example], splits: SplitsById, smoothing: float) -> RowLosses:
        """The losses of a micro-batch of (task id, row) pairs; `smoothing` as in `label_smoothed_loss`."""
        device, ids = self.accelerator.device, [task for task, _ in examples]
        inputs = [splits[task].input_ids(row) for task, row in examples]
        targets = [splits[task].target_ids(row) for task, row in examples]
        batch = self.model.family.layout.training_batch(inputs, targets, self.pad_id)
        batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        with self.accelerator.autocast():
            losses = batch_losses(self.model, batch, ids, smoothing, wrapped=self.wrapped_model)
        return RowLosses(torch.tensor(ids, device=device), losses, (batch["labels"] != IGNORED_LABEL).sum(dim=1))


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step saw: this process's rows, without gradients, and the gradient norm before clipping."""

    rows: RowLosses
    gradient_norm: Tensor


@dataclass(frozen=True)
class OptimizerStep:
    """Takes optimizer steps with the parameters in `optimizer`, on the training examples in `splits`.

    A summed loss is divided by `replicas`, the reference's GPUs; see `TrainingSection`.
    """

    loss_function: LossFunction
    splits: SplitsById
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    settings: TrainingSection
    replicas: int = 1

    def __call__(self, batch: Sequence[Example]) -> StepResult:
        """Makes one step on the global batch, the same on every process; each process computes its slice."""
        accelerator, settings = self.loss_function.accelerator, self.settings
        world = accelerator.num_processes
        scale = float(world)  # several processes average their gradients; the loss is a sum over all of them
        if settings.loss_reduction == "sum":
            scale /= self.replicas
        else:
            scale /= sum(len(self.splits[task].target_ids(row)) for task, row in batch)
        parts = list(micro_batches(rank_slice(batch, accelerator.process_index, world), settings.micro_batch_size))
        seen: list[RowLosses] = []
        for part in parts:
            with nullcontext() if part is parts[-1] else accelerator.no_sync(self.loss_function.wrapped_model):
                rows = self.loss_function(part, self.splits, settings.label_smoothing)
                accelerator.backward(scale * rows.losses.sum())
            seen.append(rows._replace(losses=rows.losses.detach()))
        limit = math.inf if settings.max_grad_norm is None else settings.max_grad_norm
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        gradient_norm = accelerator.clip_grad_norm_(trained, limit)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return StepResult(RowLosses(*map(torch.cat, zip(*seen, strict=True))), gradient_norm)


def micro_batches(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    """Consecutive parts of `size` examples; the last may be smaller."""
    for start in range(0, len(examples), size):
        yield examples[start : start + size]
