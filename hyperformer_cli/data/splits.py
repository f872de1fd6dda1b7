"""Which rows of a data set train, validate and test. GLUE's test labels are hidden, so its other splits are divided.

    halved   the validation split is permuted; its first half (rounded down) validates, the rest tests
    carved   the first 1,000 of a permutation of the training split validate, the rest trains; the original
             validation split tests
    own      the data set has a split for each role

This is the `paper` protocol. The `reference` protocol also repeats two quirks of the reference code: it trains on the
carved validation rows too, and it drops the last row of every split.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from hyperformer_cli.schema.section import SplitName
from hyperformer_cli.tasks.task import Task

Protocol = Literal["paper", "reference"]
SPLIT_SEED = 42
CARVED = 1000


@dataclass(frozen=True)
class RowSelection:
    """Rows of one split of a data set, in order; `indices` is None for all of them."""

    source_split: str
    indices: list[int] | None = None

    def size(self, source_size: int) -> int:
        return source_size if self.indices is None else len(self.indices)


def split_rows(
    task: Task,
    split: SplitName,
    sizes: dict[str, int],
    protocol: Protocol = "paper",
    samples: int | None = None,
    samples_seed: int = SPLIT_SEED,
) -> RowSelection:
    """The rows of a task's split under a protocol.

    Args:
        task: the declaration.
        split: the role.
        sizes: number of rows of each source split that this role needs (`source_split_of`).
        protocol: `paper` or `reference`.
        samples: keep only this many training rows, the first of a permutation.
        samples_seed: seed of that permutation in the paper's protocol; the reference's is always 42.

    Returns:
        The source split and row numbers in it.
    """
    source = source_split_of(task, split)
    n = sizes[source]
    chosen: list[int] | None = None
    if task.split_rule == "halved" and split != "train":
        order = permutation(n, SPLIT_SEED)
        chosen = order[: n // 2] if split == "validation" else order[n // 2 :]
    elif task.split_rule == "carved" and split == "validation":
        chosen = permutation(n, SPLIT_SEED)[: _carved(n)]
    elif task.split_rule == "carved" and split == "train" and protocol == "paper":
        chosen = permutation(n, SPLIT_SEED)[_carved(n) :]
    if split == "train" and samples is not None:
        chosen = _subsample(n, chosen, samples, SPLIT_SEED if protocol == "reference" else samples_seed)
    elif protocol == "reference":
        chosen = list(range(n - 1)) if chosen is None else chosen[:-1]
    return RowSelection(source, chosen)


def source_split_of(task: Task, split: SplitName) -> str:
    """The split of the data set whose rows a role takes."""
    if task.split_rule == "own" or split == "train":
        return task.source_splits[split]
    carved_validation = task.split_rule == "carved" and split == "validation"
    return task.source_splits["train" if carved_validation else "validation"]


def permutation(n: int, seed: int) -> list[int]:
    """torch's permutation of `range(n)` from a generator of its own, as the reference draws it."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()


def _carved(n: int) -> int:
    """1,000, or half of a smaller training split (none of the paper's is so small)."""
    return min(CARVED, n // 2)


def _subsample(n: int, chosen: list[int] | None, samples: int, seed: int) -> list[int]:
    if chosen is None:
        return permutation(n, seed)[:samples]
    return [chosen[i] for i in permutation(len(chosen), seed)[:samples]]
