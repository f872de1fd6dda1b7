"""One optimizer step, the same for training and few-shot transfer: micro-batches, losses, gradients, update."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.layouts import IGNORED_LABEL
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.data.micro_batches import TokenCeiling, cut_as_drawn, cut_by_length, deal, padded_tokens
from hyperformer_cli.data.sampling import BatchSampler, Example, rank_slice
from hyperformer_cli.data.tokenization import TokenizedSplit
from hyperformer_cli.engine.loss import batch_losses

SplitsById = Mapping[int, TokenizedSplit]  # by task id

# What a forward and backward pass costs besides its tokens, in tokens: measured on two CPU cores with T5-small. A GPU
# has more to do at once before a launch costs nothing; its figure is an estimate.
OVERHEAD_TOKENS = {"cpu": 128}
OVERHEAD_TOKENS_ELSEWHERE = 1024


@dataclass(frozen=True)
class MicroBatch:
    """The tensors of some examples, on the host.

    Attributes:
        task_ids: one per row.
        tensors: what the layout's `training_batch` returned.
    """

    task_ids: list[int]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class PreparedStep:
    """What one process computes of a step.

    Attributes:
        micro_batches: in the order in which they are computed.
        scale: the factor of the summed loss.
        examples: of the global batch.
        input_tokens, padded_tokens: of this process's inputs, without and with padding.
    """

    micro_batches: list[MicroBatch]
    scale: float
    examples: int
    input_tokens: int
    padded_tokens: int


class RowLosses(NamedTuple):
    """Losses of some examples.

    Attributes:
        task_ids: (rows,), on the host.
        losses: (rows,), summed over each row's tokens, on the model's device.
        tokens: (rows,), the number of target tokens of each row, on the host.
    """

    task_ids: Tensor
    losses: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class LossFunction:
    """The forward pass of training: from examples to the losses of their rows.

    `wrapped_model` is what accelerate made of the model; else the model itself. `pad_id` fills up rows.
    """

    model: AdaptedModel
    wrapped_model: nn.Module
    pad_id: int
    accelerator: Accelerator

    def collate(self, examples: Sequence[Example], splits: SplitsById) -> MicroBatch:
        """The tensors of (task id, row) pairs, in memory from which a GPU copies without waiting."""
        inputs = [splits[task].input_ids(row) for task, row in examples]
        targets = [splits[task].target_ids(row) for task, row in examples]
        batch = self.model.family.layout.training_batch(inputs, targets, self.pad_id)
        if self.accelerator.device.type == "cuda":
            batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
        return MicroBatch([task for task, _ in examples], batch)

    def __call__(self, batch: MicroBatch, smoothing: float) -> RowLosses:
        """The losses of a micro-batch's rows; `smoothing` as in `label_smoothed_loss`."""
        device = self.accelerator.device
        tensors = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.tensors.items()}
        with self.accelerator.autocast():
            losses = batch_losses(self.model, tensors, batch.task_ids, smoothing, wrapped=self.wrapped_model)
        tokens = (batch.tensors["labels"] != IGNORED_LABEL).sum(dim=1)
        return RowLosses(torch.tensor(batch.task_ids), losses, tokens)


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
    recipe: Recipe
    replicas: int = 1

    def prepare(self, batch: Sequence[Example]) -> PreparedStep:
        """Deals the global batch, the same on every process, over the processes, and cuts this one's part."""
        settings = self.recipe.training
        world = self.loss_function.accelerator.num_processes
        scale = float(world)  # several processes average their gradients; the loss is a sum over all of them
        if settings.loss_reduction == "sum":
            scale /= self.replicas
        else:
            scale /= sum(len(self.splits[task].target_ids(row)) for task, row in batch)
        inputs, targets = self._lengths(batch)
        parts = self._cut(inputs, targets)
        return PreparedStep(
            [self.loss_function.collate([batch[i] for i in part], self.splits) for part in parts],
            scale,
            examples=len(batch),
            input_tokens=int(inputs[np.concatenate(parts)].sum()),
            padded_tokens=padded_tokens(parts, inputs),
        )

    def _cut(self, inputs: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
        """The indices of this process's micro-batches; all processes have as many, with as many rows each."""
        accelerator, training, data = self.loss_function.accelerator, self.recipe.training, self.recipe.data
        rank, world, rows = accelerator.process_index, accelerator.num_processes, training.micro_batch_size
        if training.micro_batching == "rows":
            mine = np.array(rank_slice(range(len(inputs)), rank, world))
            return [mine[part] for part in cut_as_drawn(len(mine), rows)]
        longest_input = data.max_source_length + self._joins_target * data.max_target_length
        ceiling = TokenCeiling(
            rows * longest_input, rows * data.max_target_length, rows if data.sampling.mixed_batches else None
        )
        overhead = OVERHEAD_TOKENS.get(accelerator.device.type, OVERHEAD_TOKENS_ELSEWHERE)
        dealt = deal(inputs, world)
        parts = cut_by_length(inputs[dealt].max(axis=1), targets[dealt].max(axis=1), ceiling, overhead)
        return [dealt[part, rank] for part in parts]

    def _lengths(self, batch: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
        """(examples,) each: the tokens that the model reads of every example, and those of its target."""
        inputs = np.array([len(self.splits[task].input_ids(row)) for task, row in batch])
        targets = np.array([len(self.splits[task].target_ids(row)) for task, row in batch])
        return (inputs + targets - 1 if self._joins_target else inputs), targets

    @property
    def _joins_target(self) -> bool:
        return self.loss_function.model.family.layout.joins_target

    def __call__(self, step: PreparedStep) -> StepResult:
        """Computes this process's part of a step, and makes the step."""
        accelerator, settings = self.loss_function.accelerator, self.recipe.training
        seen: list[RowLosses] = []
        for batch in step.micro_batches:
            is_last = batch is step.micro_batches[-1]
            with nullcontext() if is_last else accelerator.no_sync(self.loss_function.wrapped_model):
                rows = self.loss_function(batch, settings.label_smoothing)
                accelerator.backward(step.scale * rows.losses.sum())
            seen.append(rows._replace(losses=rows.losses.detach()))
        limit = math.inf if settings.max_grad_norm is None else settings.max_grad_norm
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        gradient_norm = accelerator.clip_grad_norm_(trained, limit)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return StepResult(RowLosses(*map(torch.cat, zip(*seen, strict=True))), gradient_norm)


def upcoming_steps(sampler: BatchSampler, make_step: OptimizerStep, first: int, last: int) -> Iterator[PreparedStep]:
    """The steps from `first` to before `last`; a thread draws, cuts and collates the next one while one is computed."""
    with ThreadPoolExecutor(max_workers=1) as worker:

        def prepare(step: int) -> PreparedStep:
            return make_step.prepare(sampler.batch(step))

        pending = worker.submit(prepare, first)
        for step in range(first, last):
            ready = pending.result()
            if step + 1 < last:
                pending = worker.submit(prepare, step + 1)
            yield ready
