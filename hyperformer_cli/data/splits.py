"""Which rows of a data set train, validate and test. GLUE's test labels are hidden, so its other splits are divided.

    halved   the validation split is permuted; its first half (rounded down) validates, the rest tests
    carved   the first 1,000 of a permutation of the training split validate, the rest trains; the original
             validation split tests
    own      the data set has a split for each role

This is the `paper` protocol. The `reference` protocol also repeats two quirks of the reference code: it trains on the
carved validation rows too, and it drops the last row of every split.
"""

from collections.abc import Sequence
from typing import Literal

import torch

from hyperformer_cli.schema.section import SplitName
from hyperformer_cli.tasks.task import Task

Protocol = Literal["paper", "reference"]
SPLIT_SEED = 42
CARVED = 1000


def split_rows(
    task: Task,
    split: SplitName,
    rows: int,
    protocol: Protocol = "paper",
    samples: int | None = None,
    samples_seed: int = SPLIT_SEED,
) -> Sequence[int]:
    """The rows of a task's split under a protocol, by their numbers in the data set's split `source_split_of`.

    Args:
        task: the declaration.
        split: the role.
        rows: the number of rows in that split.
        protocol: `paper` or `reference`.
        samples: keep only this many training rows, the first of a permutation.
        samples_seed: seed of that permutation in the paper's protocol; the reference's is always 42.
    """
    carved = min(CARVED, rows // 2)  # half of a smaller training split (none of the paper's is so small)
    chosen: Sequence[int] = range(rows)
    if task.split_rule == "halved" and split != "train":
        order = permutation(rows, SPLIT_SEED)
        chosen = order[: rows // 2] if split == "validation" else order[rows // 2 :]
    elif task.split_rule == "carved" and split == "validation":
        chosen = permutation(rows, SPLIT_SEED)[:carved]
    elif task.split_rule == "carved" and split == "train" and protocol == "paper":
        chosen = permutation(rows, SPLIT_SEED)[carved:]
    if split == "train" and samples is not None:
        seed = SPLIT_SEED if protocol == "reference" else samples_seed
        return [chosen[i] for i in permutation(len(chosen), seed)[:samples]]
    return chosen[:-1] if protocol == "reference" else chosen


def source_split_of(task: Task, split: SplitName) -> str:
    """The split of the data set whose rows a role takes."""
    if task.split_rule == "own" or split == "train":
        return task.source_splits[split]
    carved_validation = task.split_rule == "carved" and split == "validation"
    return task.source_splits["train" if carved_validation else "validation"]


def permutation(n: int, seed: int) -> list[int]:
    """torch's permutation of `range(n)` from a generator of its own, as the reference draws it."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
