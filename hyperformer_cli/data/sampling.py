"""Which examples an optimizer step sees.

One step's global batch holds one task, drawn with probability proportional to n_task^(1/temperature) (paper, Section
3), unless batches are mixed: then every row draws its own. A sampler returns the whole batch of a step and every rank
computes its slice of it, so that all ranks see the same task, and two ranks with 16 examples each train on the same
batch as one rank with 32.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

LENGTH_POOL = 8  # batches' worth of candidates from which one batch of similar lengths is taken

Example = tuple[int, int]  # task id, row


class BatchSampler(Protocol):
    """What training needs of a sampler."""

    @property
    def distribution(self) -> np.ndarray:
        """Probability of each task, float64."""

    def batch(self, step: int) -> list[Example]:
        """The examples of one optimizer step over all processes."""


def task_distribution(
    sizes: Sequence[int], temperature: float, probabilities: Mapping[int, float] | None = None
) -> np.ndarray:
    """Probability of each task: (n_i / N)^(1/T), normalised; float64.

    `probabilities` fixes those of some tasks, by id; the others share what is left in the same proportions.
    """
    if probabilities:
        free = [task for task in range(len(sizes)) if task not in probabilities]
        fixed = np.array([probabilities.get(task, 0.0) for task in range(len(sizes))], dtype=np.float64)
        if free:
            left = max(1 - fixed.sum(), 0.0)
            fixed[free] = left * task_distribution([sizes[task] for task in free], temperature)
        return fixed / fixed.sum()
    shares = np.log(np.asarray(sizes, dtype=np.float64) / sum(sizes))
    with np.errstate(over="ignore"):
        logarithms = shares / temperature
        if not np.isfinite(logarithms).all():
            logarithms = (shares - shares.max()) / temperature
    weights = np.exp(logarithms - logarithms.max())  # no temperature is too low for this
    return weights / weights.sum()


def rank_slice(batch: Sequence[Any], rank: int, world: int) -> Sequence[Any]:
    """The consecutive part of a global batch that one rank computes.

    Raises:
        ValueError: the batch cannot be cut into equal parts.
    """
    part, rest = divmod(len(batch), world)
    if rest:
        raise ValueError(f"a batch of {len(batch)} does not divide over {world} processes")
    return batch[rank * part : (rank + 1) * part]


@dataclass(frozen=True)
class TemperatureSampler:
    """The sampler of the `paper` protocol: a pure function of (seed, step).

    No example appears twice in a step, unless the task has fewer examples than a batch: then all are drawn with
    replacement.

    Attributes:
        sizes: training examples of each task.
        batch_size: size of the global batch.
        temperature: 1 draws tasks by size, infinity evenly.
        seed: seed of all draws.
        mixed_batches: every row draws its own task.
        lengths: number of tokens of every example of each task. If given, a task's examples in a batch have similar
            lengths; every example is still equally likely.
        probabilities: of some tasks, by id, in place of those that sizes and temperature give.
    """

    sizes: Sequence[int]
    batch_size: int
    temperature: float = 10
    seed: int = 42
    mixed_batches: bool = False
    lengths: Sequence[np.ndarray] | None = None
    probabilities: Mapping[int, float] = field(default_factory=dict)

    @property
    def distribution(self) -> np.ndarray:
        """Probability of each task, float64."""
        return task_distribution(self.sizes, self.temperature, self.probabilities)

    def batch(self, step: int) -> list[Example]:
        """The examples of optimizer step `step`, as (task id, row)."""
        # A counter-based generator: any step can be asked for first.
        generator = np.random.Generator(np.random.Philox(key=(self.seed << 64) | step))
        distribution = self.distribution
        rows = self.batch_size if self.mixed_batches else 1
        tasks = generator.choice(len(self.sizes), size=rows, p=distribution)
        if not self.mixed_batches:
            task = int(tasks[0])
            return [(task, row) for row in self._draw(generator, task, self.batch_size).tolist()]
        counts = sorted(Counter(tasks.tolist()).items())
        drawn = {task: iter(self._draw(generator, task, count).tolist()) for task, count in counts}
        return [(task, next(drawn[task])) for task in tasks.tolist()]

    def _draw(self, generator: np.random.Generator, task: int, count: int) -> np.ndarray:
        n = self.sizes[task]
        if n < count:
            return generator.integers(n, size=count)
        if self.lengths is None:
            return generator.choice(n, size=count, replace=False)
        batches = min(LENGTH_POOL, n // count)
        pool = generator.choice(n, size=count * batches, replace=False)
        pool = pool[np.argsort(self.lengths[task][pool], kind="stable")]
        chosen = generator.integers(batches)
        return generator.permutation(pool[chosen * count : (chosen + 1) * count])


@dataclass
class ReferenceSampler:
    """Replays the reference's draws (its data/multitask_sampler.py): the sampler of the `reference` protocol.

    Its `replicas` processes each draw `replica_batch_size` examples, with replacement, from their shard of a
    permutation of the task's examples; a step's global batch is theirs one after the other. The generator is
    sequential within an epoch, so a step in the middle of one costs the draws before it.
    """

    sizes: Sequence[int]
    replica_batch_size: int
    replicas: int = 1
    temperature: float = 10
    seed: int = 0  # the reference never sets another
    _epoch: int = field(default=-1, init=False, repr=False)
    _position: int = field(default=0, init=False, repr=False)

    @property
    def distribution(self) -> np.ndarray:
        """Probability of each task, float64."""
        return task_distribution(self.sizes, self.temperature)

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(sum(self.sizes) / self.replica_batch_size) // self.replicas

    def batch(self, step: int) -> list[Example]:
        """The examples of optimizer step `step`, as (task id, row)."""
        epoch, position = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch or position < self._position:
            self._start(epoch)
        while self._position < position:
            self._draw()
        task, positions = self._draw()
        used = self.sizes[task] // self.replicas * self.replicas  # the reference drops the rest
        shards = (self._orders[task][replica : used : self.replicas] for replica in range(self.replicas))
        return [(task, row) for shard in shards for row in shard[positions].tolist()]

    def _start(self, epoch: int) -> None:
        self._generator = torch.Generator().manual_seed(self.seed + epoch)
        self._orders = [torch.randperm(size, generator=self._generator) for size in self.sizes]
        weights = torch.from_numpy(self.distribution)
        self._tasks = torch.multinomial(weights, self.batches_per_epoch, replacement=True, generator=self._generator)
        self._epoch, self._position = epoch, 0

    def _draw(self) -> tuple[int, torch.Tensor]:
        """The task of the next batch, and positions in every replica's shard."""
        task = int(self._tasks[self._position])
        self._position += 1
        shard = self.sizes[task] // self.replicas
        return task, torch.randint(shard, (self.replica_batch_size,), generator=self._generator)
