"""How a step is cut: nothing lost, nothing beyond the ceiling, and no cut of the sorted examples cheaper."""

import itertools

import numpy as np
import pytest

from hyperformer_cli.data.micro_batches import GRAIN, TokenCeiling, cut_as_drawn, cut_by_length, deal, padded_tokens


def lengths(seed: int, examples: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(1, 129, examples), generator.integers(1, 12, examples)


def cost(part: np.ndarray, inputs: np.ndarray, targets: np.ndarray, overhead: int) -> int:
    rounded = int(-(-inputs[part].max() // GRAIN) * GRAIN)
    return len(part) * (rounded + int(targets[part].max())) + overhead


def fits(part: np.ndarray, inputs: np.ndarray, targets: np.ndarray, ceiling: TokenCeiling) -> bool:
    rounded = -(-inputs[part].max() // GRAIN) * GRAIN
    return len(part) == 1 or (
        len(part) * rounded <= ceiling.inputs and len(part) * targets[part].max() <= ceiling.targets
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_other_cut_of_the_sorted_examples_is_cheaper(seed: int) -> None:
    inputs, targets = lengths(seed, 9)
    ceiling = TokenCeiling(inputs=300, targets=30)
    order = np.lexsort((-targets, -inputs))
    cuts = (np.split(order, places) for n in range(9) for places in itertools.combinations(range(1, 9), n))
    cheapest = min(
        sum(cost(part, inputs, targets, 40) for part in parts)
        for parts in cuts
        if all(fits(part, inputs, targets, ceiling) for part in parts)
    )
    found = cut_by_length(inputs, targets, ceiling, overhead=40)
    assert all(fits(part, inputs, targets, ceiling) for part in found)
    assert sum(cost(part, inputs, targets, 40) for part in found) == cheapest
    assert sorted(np.concatenate(found)) == list(range(9))


def test_an_example_beyond_the_ceiling_is_alone() -> None:
    parts = cut_by_length(np.array([100, 4, 4]), np.array([2, 2, 50]), TokenCeiling(16, 20), overhead=0)
    assert sorted(map(sorted, parts)) == [[0], [1], [2]]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_are_dealt_every_example_once_and_equal_work(world: int) -> None:
    inputs, _ = lengths(0, 128)
    dealt = deal(inputs, world)
    assert dealt.shape == (128 // world, world) and sorted(dealt.flatten()) == list(range(128))
    tokens = inputs[dealt].sum(axis=0)
    assert max(tokens) <= 1.02 * min(tokens)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="does not divide over 2"):
        deal(np.array([1, 2, 3]), 2)


def test_cut_by_length_pads_less_than_as_drawn() -> None:
    inputs, targets = lengths(1, 128)
    drawn = padded_tokens(cut_as_drawn(128, 32), inputs)
    cut = padded_tokens(cut_by_length(inputs, targets, TokenCeiling(32 * 128, 32 * 128), overhead=128), inputs)
    assert cut < 1.15 * inputs.sum() < drawn
