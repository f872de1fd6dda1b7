"""How a step's examples are cut into micro-batches: by length, so that little of what is computed is padding.

The step stays the same, whatever the cut: the same examples, the same summed loss, the same gradient but for the order
of additions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GRAIN = 8  # tokens; inputs that differ by less are taken as equally long


@dataclass(frozen=True)
class TokenCeiling:
    """The most that a micro-batch may hold, padding included; memory sets it. A single example is never refused.

    Attributes:
        inputs: rows x longest input.
        targets: rows x longest target.
        rows: for batches of mixed tasks, whose rows have adapter weights of their own.
    """

    inputs: int
    targets: int
    rows: int | None = None


def deal(inputs: np.ndarray, world: int) -> np.ndarray:
    """Deals a global batch over processes: each has as many examples as the others, of nearly the same lengths.

    They are dealt from the longest to the shortest, to and fro, as 0 1 2 3 3 2 1 0 0 1 ...

    Args:
        inputs: (examples,) tokens of each input.
        world: processes.

    Returns:
        (examples / world, world): each process's indices in a column, longest first.

    Raises:
        ValueError: the examples do not divide over the processes.
    """
    if len(inputs) % world:
        raise ValueError(f"a batch of {len(inputs)} does not divide over {world} processes")
    rounds = np.argsort(-inputs, kind="stable").reshape(-1, world)
    rounds[1::2] = rounds[1::2, ::-1]
    return rounds


def cut_by_length(inputs: np.ndarray, targets: np.ndarray, ceiling: TokenCeiling, overhead: int) -> list[np.ndarray]:
    """Cuts examples into micro-batches so that padded tokens + `overhead` per micro-batch are least.

    Examples of similar length lie together; dynamic programming over the examples sorted by input length finds where
    to cut.

    Args:
        inputs: (examples,) tokens of each input.
        targets: (examples,) tokens of each target.
        ceiling: of every micro-batch.
        overhead: what a forward and backward pass costs besides its tokens, in tokens.

    Returns:
        The indices of each micro-batch, the longest inputs first.
    """
    order = np.lexsort((-targets, -inputs))
    rounded = -(-inputs[order] // GRAIN) * GRAIN
    sorted_targets = targets[order]
    least = np.zeros(len(order) + 1, dtype=np.int64)  # the cost of the first n examples
    starts = np.zeros(len(order) + 1, dtype=np.int64)  # where the last micro-batch of the first n starts
    for end in range(1, len(order) + 1):
        rows = np.arange(end, 0, -1)  # of a micro-batch that starts at 0, 1, ... and ends here
        input_tokens = rows * rounded[:end]
        target_tokens = rows * np.maximum.accumulate(sorted_targets[:end][::-1])[::-1]
        fits = (input_tokens <= ceiling.inputs) & (target_tokens <= ceiling.targets)
        fits &= rows <= (ceiling.rows or end)
        fits[-1] = True
        cost = np.where(fits, least[:end] + input_tokens + target_tokens + overhead, np.iinfo(np.int64).max)
        starts[end] = cost.argmin()
        least[end] = cost[starts[end]]
    parts: list[np.ndarray] = []
    end = len(order)
    while end:
        parts.append(order[starts[end] : end])
        end = int(starts[end])
    return parts[::-1]


def cut_as_drawn(examples: int, size: int) -> list[np.ndarray]:
    """Consecutive micro-batches of `size` examples; the last may be smaller."""
    return [np.arange(start, min(start + size, examples)) for start in range(0, examples, size)]


def padded_tokens(parts: Sequence[np.ndarray], inputs: np.ndarray) -> int:
    """Tokens of the inputs of these micro-batches with padding."""
    return sum(len(part) * int(inputs[part].max()) for part in parts)
