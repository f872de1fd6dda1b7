"""The miniature's rows: in the files what the generator makes, balanced, with nothing of the test rows in training."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from hyperformer_cli.bundled import data_folder
from tools.miniature import write
from tools.miniature.lexicon import ALL, HELD_OUT, TRAINING, Lexicon, Noun, Verb
from tools.miniature.rows import MINIATURE, rows

TASKS = sorted(MINIATURE)
SPLITS = ("train", "validation", "test")
LABELLED = [name for name in TASKS if MINIATURE[name].labels]


@cache
def table(task: str, split: str) -> pa.Table:
    """What the package holds."""
    return parquet.read_table(data_folder() / task / f"{split}.parquet")


def bundled_rows(task: str, split: str) -> list[dict[str, Any]]:
    return table(task, split).to_pylist()


def words_of(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def texts(task: str, split: str) -> list[str]:
    return [MINIATURE[task].input_text(row, with_prefix=False) for row in bundled_rows(task, split)]


def content_words(lexicon: Lexicon) -> set[str]:
    """All words of a part, prepositions and articles of its places excepted."""
    found: set[str] = set()
    for field in fields(Lexicon):
        for value in getattr(lexicon, field.name):
            if isinstance(value, Noun):
                found |= {value.singular, value.plural}
            elif isinstance(value, Verb):
                found |= {value.base, value.third, value.past, value.participle}
            else:
                found |= words_of(" ".join(value) if isinstance(value, tuple) else value)
    return found - {"the", "in", "at"}


def test_a_fresh_process_with_another_hash_seed_generates_the_bundled_rows():
    code = (
        "import hashlib, json; from tools.miniature.rows import MINIATURE, rows\n"
        "for name in sorted(MINIATURE):\n"
        "    for split in ('test', 'validation', 'train'):\n"
        "        print(hashlib.sha256(json.dumps(rows(name, split)).encode()).hexdigest())"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "12345"}
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    ).stdout.split()
    bundled = [json.dumps(bundled_rows(task, split)) for task in TASKS for split in ("test", "validation", "train")]
    assert printed == [hashlib.sha256(rows.encode()).hexdigest() for rows in bundled]


def assert_bundled(found: pa.Table, task: str, split: str) -> None:
    assert found.schema == table(task, split).schema
    for column in found.column_names:
        assert found[column].equals(table(task, split)[column]), (task, split, column)


@pytest.mark.parametrize("split", SPLITS)
def test_the_bundled_columns_of_a_small_task_are_the_generators(split):
    assert_bundled(pa.Table.from_pylist(rows("mini_paws", split)), "mini_paws", split)


@pytest.mark.slow
def test_the_bundled_columns_are_what_the_command_writes(tmp_path):
    write.write(tmp_path)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.parquet")}
    assert written == {path.relative_to(data_folder()) for path in data_folder().rglob("mini_*/*.parquet")}
    for path in written:
        assert_bundled(parquet.read_table(tmp_path / path), path.parent.name, path.stem)


@pytest.mark.parametrize("task", TASKS)
def test_splits_have_their_declared_sizes_and_no_row_twice(task):
    everything = []
    for split, size in MINIATURE[task].sizes.items():
        assert len(bundled_rows(task, split)) == size
        everything += texts(task, split)
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("task", LABELLED)
@pytest.mark.parametrize("split", SPLITS)
def test_labels_are_balanced(task, split):
    counts = Counter(row["label"] for row in bundled_rows(task, split))
    assert set(counts) == set(range(len(MINIATURE[task].labels)))
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("split", SPLITS)
def test_similarity_covers_its_scale(split):
    scores = [row["label"] for row in bundled_rows("mini_stsb", split)]
    assert min(scores) == 0.0
    assert max(scores) == 5.0
    assert all(any(low <= score <= low + 1 for score in scores) for low in range(5))


def test_no_word_stands_in_both_parts_of_the_lexicon():
    assert not content_words(TRAINING) & content_words(HELD_OUT)


@pytest.mark.parametrize("task", TASKS)
def test_training_rows_have_no_held_out_word_and_test_rows_no_training_word(task):
    trained = set().union(*(words_of(text) for split in ("train", "validation") for text in texts(task, split)))
    tested = set().union(*(words_of(text) for text in texts(task, "test")))
    assert not trained & content_words(HELD_OUT)
    assert not tested & content_words(TRAINING)


def shape(text: str) -> str:
    """A text with a placeholder for every content word: its template."""
    content = {word: "verb" for verb in (*ALL.meets, *ALL.uses, *ALL.acts) for word in vars(verb).values()}
    content |= {name.lower(): "name" for name in ALL.names}
    content |= {form: "noun" for noun in (*ALL.agents, *ALL.things) for form in (noun.singular, noun.plural)}
    return " ".join(content.get(word, word) for word in re.findall(r"\w+|[.,?]", text.lower()))


@pytest.mark.parametrize(
    ("task", "held_out"),
    [
        ("mini_cola", r"\bthat\b"),
        ("mini_sst2", r"\b(never|far from|nothing about|few people|always|truly|everything about|many people)\b"),
        ("mini_mrpc", r"it (is|was) .* that|(?:^|\d: |\. )\w+ the \w+, [^.]* (was|were|is|are) "),
        ("mini_stsb", r"it (is|was) .* that|(?:^|\d: |\. )\w+ the \w+, [^.]* (was|were|is|are) "),
        ("mini_cb", r"\b(noticed|remembered|certain|lied|wrong|dreamed|believed|feared|maybe)\b"),
        ("mini_paws", r"\bby\b"),
    ],
)
def test_every_test_row_has_a_template_that_marks_it(task, held_out):
    assert all(re.search(held_out, text.lower()) for text in texts(task, "test"))


@pytest.mark.parametrize("task", ["mini_cola", "mini_sst2", "mini_mrpc", "mini_stsb", "mini_qnli", "mini_cb"])
def test_templates_of_test_rows_do_not_occur_in_training(task):
    trained = {shape(text) for text in texts(task, "train")}
    assert not any(shape(text) in trained for text in texts(task, "test"))
