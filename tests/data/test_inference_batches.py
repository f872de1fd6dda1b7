"""Batches for evaluation: every input once, within the limits, cheapest, and equally many on all processes."""

import itertools

import numpy as np
import pytest

from hyperformer_cli.data.inference_batches import GRAIN, MIXED_COST, BatchLimits, plan_batches

LIMITS = BatchLimits(tokens=512, rows=40, mixed_rows=10, overhead=60)


def draw(count: int, tasks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(1, 130, count), generator.integers(0, tasks, count)


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize(("count", "tasks"), [(1, 1), (7, 2), (200, 1), (300, 8), (60, 60)])
def test_every_input_is_in_one_batch_within_the_limits(count: int, tasks: int, world: int) -> None:
    lengths, asked = draw(count, tasks)
    batches = plan_batches(lengths, asked, LIMITS, world)
    numbers = np.concatenate([batch.reshape(-1) for batch in batches])
    assert sorted(numbers[numbers >= 0]) == list(range(count))
    assert (numbers < 0).sum() <= world * tasks
    for batch in batches:
        assert batch.shape[1] == world
        for column in batch.T:  # of one process
            own = column[column >= 0]
            if len(own) > 1:
                assert len(own) * lengths[own].max() <= LIMITS.tokens
                assert len(own) <= (LIMITS.rows if len(set(asked[own])) == 1 else LIMITS.mixed_rows)


def rounded(length: int) -> int:
    return -(-length // GRAIN) * GRAIN


def cost(batches: list[np.ndarray], lengths: np.ndarray, asked: np.ndarray) -> float:
    total = 0.0
    for batch in batches:
        own = len(batch) * rounded(lengths[batch].max()) + LIMITS.overhead
        total += own * (MIXED_COST if len({*asked[batch]}) > 1 else 1)
    return total


def test_no_cut_of_the_sorted_inputs_costs_less() -> None:
    for seed in range(5):
        lengths, asked = draw(9, 1, seed)
        order = np.argsort(-lengths, kind="stable")
        cuts = itertools.chain.from_iterable(itertools.combinations(range(1, 9), n) for n in range(9))
        cheapest = min(
            cost(parts, lengths, asked)
            for parts in (np.split(order, cut) for cut in cuts)
            if all(len(part) * rounded(lengths[part].max()) <= LIMITS.tokens for part in parts)
        )
        found = [batch[:, 0] for batch in plan_batches(lengths, asked, LIMITS)]
        assert cost(found, lengths, asked) == cheapest


def test_tasks_are_mixed_where_they_have_few_rows() -> None:
    lengths = np.concatenate([np.full(400, 20), np.arange(10, 40)])
    asked = np.concatenate([np.zeros(400, int), np.repeat([1, 2, 3, 4, 5, 6], 5)])
    mixed = [len(set(asked[batch[:, 0]])) > 1 for batch in plan_batches(lengths, asked, LIMITS)]
    of_first = [0 in asked[batch[:, 0]] for batch in plan_batches(lengths, asked, LIMITS)]
    assert any(mixed) and not any(a and b for a, b in zip(mixed, of_first, strict=True))
    assert len(mixed) < 6 + 400 * 20 // LIMITS.tokens + 1
