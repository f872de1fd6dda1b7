"""The two samplers: the reference's draws replayed, and the pure temperature sampler."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hyperformer_cli.data.sampling import ReferenceSampler, TemperatureSampler, rank_slice, task_distribution

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "data_golden.json").read_text())
SIZES = [50, 200, 1000]


@pytest.mark.parametrize("temperature", ["1", "2", "5", "10"])
def test_distribution_is_the_references(temperature: str) -> None:
    found = task_distribution(GOLDEN["glue_sizes"], float(temperature))
    np.testing.assert_allclose(found, GOLDEN["distribution"][temperature], rtol=1e-14)


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-300, 1e300])
def test_no_temperature_is_too_low_or_too_high(temperature: float) -> None:
    found = task_distribution([10, 1000, 1000], temperature)
    np.testing.assert_allclose(found, [1 / 3] * 3 if temperature > 1 else [0, 0.5, 0.5])


@pytest.mark.parametrize("name", sorted(GOLDEN["num_batches_per_epoch_glue"]))
def test_batches_per_epoch_are_the_references(name: str) -> None:
    batch, replicas = (int(part.lstrip("bsrep")) for part in name.split("_"))
    sampler = ReferenceSampler(GOLDEN["glue_sizes"], batch, replicas)
    assert sampler.batches_per_epoch == GOLDEN["num_batches_per_epoch_glue"][name]


@pytest.mark.parametrize(
    "golden", GOLDEN["iter"], ids=lambda g: f"{g['num_replicas']}x-rank{g['rank']}-epoch{g['epoch']}"
)
def test_draws_are_the_references(golden: dict) -> None:
    sampler = ReferenceSampler(golden["sizes"], golden["batch_size"], golden["num_replicas"], golden["temperature"])
    offsets = np.cumsum([0, *golden["sizes"]])
    assert sampler.batches_per_epoch == golden["num_batches"]
    first = golden["epoch"] * sampler.batches_per_epoch
    batches = [
        rank_slice(sampler.batch(first + i), golden["rank"], golden["num_replicas"])
        for i in range(golden["num_batches"])
    ]
    assert [batch[0][0] for batch in batches[: len(golden["tasks"])]] == golden["tasks"]
    assert [[int(offsets[task]) + row for task, row in b] for b in batches[: len(golden["batches"])]] == golden[
        "batches"
    ]
    assert [Counter(batch[0][0] for batch in batches)[task] for task in range(3)] == golden["task_counts_full_epoch"]


def test_reference_draws_can_be_asked_for_out_of_order() -> None:
    in_order, jumping = ReferenceSampler(SIZES, 4, 2), ReferenceSampler(SIZES, 4, 2)
    expected = [in_order.batch(step) for step in range(400)]
    for step in (399, 3, 200, 201, 200, 0):
        assert jumping.batch(step) == expected[step]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_temperature_sampler_is_a_function_of_the_step(mixed: bool, grouped: bool) -> None:
    lengths = [np.arange(size) % 37 for size in SIZES] if grouped else None
    make = lambda: TemperatureSampler(SIZES, 32, seed=7, mixed_batches=mixed, lengths=lengths)  # noqa: E731
    expected = [make().batch(step) for step in range(50)]
    sampler = make()
    for step in random.Random(0).sample(range(50), 50):
        assert sampler.batch(step) == expected[step]
    assert TemperatureSampler(SIZES, 32, seed=8).batch(0) != TemperatureSampler(SIZES, 32, seed=7).batch(0)


@pytest.mark.parametrize("mixed", [False, True])
def test_ranks_cut_one_batch(mixed: bool) -> None:
    sampler = TemperatureSampler(SIZES, 32, mixed_batches=mixed)
    for step in range(100):
        batch = sampler.batch(step)
        assert len(batch) == 32
        assert [example for rank in range(4) for example in rank_slice(batch, rank, 4)] == batch
        assert mixed or len({task for task, _ in batch}) == 1
    with pytest.raises(ValueError, match="does not divide"):
        rank_slice(batch, 0, 3)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_no_example_twice_in_a_step_unless_the_task_is_smaller(mixed: bool, grouped: bool) -> None:
    sizes = [20, 200, 1000]
    lengths = [np.arange(size) % 37 for size in sizes] if grouped else None
    sampler = TemperatureSampler(sizes, 32, mixed_batches=mixed, lengths=lengths)
    repeated = set()
    for step in range(500):
        counts = Counter(sampler.batch(step))
        repeated |= {task for (task, _), count in counts.items() if count > 1}
        assert all(0 <= row < sizes[task] for task, row in counts)
    assert repeated <= {0}
    assert mixed or repeated == {0}


def test_tasks_follow_the_distribution_over_100_000_steps() -> None:
    steps = 100_000
    sampler = TemperatureSampler(GOLDEN["glue_sizes"], 1)
    counts = Counter(sampler.batch(step)[0][0] for step in range(steps))
    expected = np.array(GOLDEN["distribution"]["10"])
    found = np.array([counts[task] for task in range(len(expected))])
    chi_square = ((found - steps * expected) ** 2 / (steps * expected)).sum()
    assert chi_square < 24.3  # the 0.1 % quantile with 7 degrees of freedom


def test_length_groups_are_even_in_length_and_uniform_over_examples() -> None:
    lengths = [np.random.default_rng(0).integers(5, 128, size=200)]
    grouped = TemperatureSampler([200], 16, lengths=lengths)
    plain = TemperatureSampler([200], 16)
    spread = lambda s: np.mean([np.ptp([lengths[0][row] for _, row in s.batch(step)]) for step in range(200)])  # noqa: E731
    assert spread(grouped) < 0.4 * spread(plain)
    counts = Counter(row for step in range(5000) for _, row in grouped.batch(step))
    found = np.array([counts[row] for row in range(200)])
    # 400 draws per example; they come in groups, never twice in one step, so no more than binomially spread.
    assert abs(found - 400).max() < 5 * np.sqrt(400)
