"""Splits: the reference's indices, its quirks under its protocol, no leak under the paper's."""

import hashlib
import json
from pathlib import Path

import pytest

from hyperformer_cli.data.splits import permutation, source_split_of, split_rows
from hyperformer_cli.schema.section import SPLITS
from hyperformer_cli.tasks.registry import get_task

GLUE = ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli"]
GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "data_golden.json").read_text())
HALVED = {"rte": 277, "mrpc": 408, "cola": 1043, "stsb": 1500}
CARVED = {"sst2": 67349, "qnli": 104743}


def rows(task: str, split: str, **options) -> list[int]:
    declared = get_task(task)
    return list(split_rows(declared, split, declared.sizes[source_split_of(declared, split)], **options))


@pytest.mark.parametrize("task", HALVED)
def test_halved_validation_sets_are_the_references(task: str) -> None:
    golden = GOLDEN["half_validation"][str(HALVED[task])]
    assert rows(task, "validation") == golden["validation"]
    assert rows(task, "test") == golden["test"]


@pytest.mark.parametrize("task", CARVED)
@pytest.mark.parametrize("split", ["validation", "train"])
def test_carved_training_sets_are_the_references(task: str, split: str) -> None:
    golden = GOLDEN["train_split"][str(CARVED[task])][split]
    found = rows(task, split)
    assert (len(found), found[:20], found[-5:]) == (golden["count"], golden["first20"], golden["last5"])
    assert hashlib.sha256(",".join(map(str, found)).encode()).hexdigest() == golden["sha256_of_comma_joined"]


@pytest.mark.parametrize("task", sorted(GOLDEN["actual_splits_with_n_obs_minus_1"]))
def test_reference_protocol_keeps_the_references_sizes(task: str) -> None:
    golden = GOLDEN["actual_splits_with_n_obs_minus_1"][task]
    for split in SPLITS:
        assert len(rows(task, split, protocol="reference")) == golden[split]["size"]
        assert source_split_of(get_task(task), split) == golden[split]["loaded"][0]
    if "validation_examples_also_in_training_set" in golden:
        shared = set(rows(task, "train", protocol="reference")) & set(rows(task, "validation", protocol="reference"))
        assert len(shared) == golden["validation_examples_also_in_training_set"]


@pytest.mark.parametrize("task", GLUE)
def test_paper_protocol_leaks_nothing(task: str) -> None:
    seen: set[tuple[str, int]] = set()
    for split in SPLITS:
        source = source_split_of(get_task(task), split)
        here = {(source, row) for row in rows(task, split)}
        assert here and not (here & seen)
        seen |= here
    assert len(seen) == sum(get_task(task).sizes.values())


def test_subsamples_are_the_references() -> None:
    assert rows("rte", "train", protocol="reference", samples=16) == GOLDEN["shuffled_subsample_n16_N2490"]
    assert rows("sst2", "train", protocol="reference", samples=16) == GOLDEN["shuffled_subsample_n16_N67349"]


def test_subsamples_of_the_paper_protocol_stay_out_of_the_validation_set() -> None:
    assert not set(rows("sst2", "train", samples=500)) & set(rows("sst2", "validation"))
    assert rows("sst2", "train", samples=500, samples_seed=1) != rows("sst2", "train", samples=500, samples_seed=2)


def test_a_task_with_fewer_gives_what_it_has() -> None:
    assert sorted(rows("rte", "train", samples=4000)) == list(range(2490))


def test_small_training_sets_give_half() -> None:
    assert split_rows(get_task("sst2"), "validation", 300) == permutation(300, 42)[:150]


@pytest.mark.parametrize(
    ("task", "sizes"),
    [
        ("scitail", (23596, 1304, 2126)),
        ("cb", (250, 28, 28)),
        ("boolq", (9427, 1635, 1635)),
        ("imdb", (25000, 12500, 12500)),
        ("yelp_polarity", (559000, 1000, 38000)),
        ("paws", (49401, 8000, 8000)),
        ("trec", (5452, 250, 250)),
        ("snli", (549367, 9842, 9824)),
        ("superglue_rte", (2490, 277, 277)),
        ("social_i_qa", (32410, 1000, 1954)),
        ("commonsense_qa", (9741, 610, 611)),
    ],
)
def test_sizes_of_the_other_tasks_follow_the_papers_rules(task: str, sizes: tuple[int, int, int]) -> None:
    assert tuple(len(rows(task, split)) for split in SPLITS) == sizes
