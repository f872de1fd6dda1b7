"""The data report: against counts made in another way, and each warning by data made for it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from hyperformer_cli.bundled import model_folder
from hyperformer_cli.cli.main import app
from hyperformer_cli.config.sections import DataSection
from hyperformer_cli.data.encoding import TwoSequences
from hyperformer_cli.data.loading import load_split
from hyperformer_cli.data.report import TaskReport, report_on_rows, report_on_tokens, summary
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.schema.section import SPLITS
from hyperformer_cli.tasks.task import Task

Row = dict[str, Any]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(model_folder())


def rows_of(count: int, start: int = 0, words: int = 3) -> list[Row]:
    """Different sentences of known words, labels in turn."""
    names = ("mary", "lucy", "henry", "the dog", "the film")
    return [
        {"text": " ".join([names[i % 5], *(["not"] * (words + (start + i) // 5))]), "label": "ab"[i % 2]}
        for i in range(count)
    ]


def make_task(folder: Path, splits: dict[str, list[Row]], **changes: Any) -> Task:
    files = {}
    for split, rows in splits.items():
        files[split] = str(folder / f"{split}.jsonl")
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {"name": "made", "files": files, "template": "{text}", "labels": ["a", "b"], **changes}
    return Task.model_validate(values)


def both(task: Task, tokenizer: Any, length: int = 128) -> tuple[TaskReport, TaskReport]:
    """The report on the rows, and the one on what they are tokenised to."""
    data = DataSection(max_source_length=length)
    tokenization = Tokenization(TwoSequences(tokenizer), length, data.max_target_length, task_prefix=False)
    tokens = {split: load_split(task, split, data, tokenization, 42) for split in SPLITS}
    return report_on_rows(task, data, 42, False, tokenization), report_on_tokens(task, tokens, tokenization)


def clean_splits() -> dict[str, list[Row]]:
    return {"train": rows_of(60), "validation": rows_of(20, 60), "test": rows_of(20, 80)}


def test_counts_are_those_of_plain_python(tmp_path: Path, tokenizer: Any) -> None:
    splits = {"train": [*rows_of(50), *rows_of(7)], "validation": rows_of(31, 60), "test": rows_of(23, 40)}
    splits["test"][3]["text"] = "zürich ☃ mary"
    limit = 12
    exact, of_tokens = both(make_task(tmp_path, splits), tokenizer, limit)
    train_texts = {row["text"] for row in splits["train"]}
    for split, rows in splits.items():
        ids = tokenizer([row["text"] for row in rows])["input_ids"]
        lengths = sorted(map(len, ids))
        found = exact.splits[split]  # type: ignore[index]
        assert found.rows == len(rows)
        assert found.labels == Counter(row["label"] for row in rows)
        assert found.cut == sum(length > limit for length in lengths)
        assert found.lengths == {str(p): lengths[int(np.ceil(p / 100 * len(rows))) - 1] for p in (50, 95, 99, 100)}
        assert found.unknown == sum(one.count(tokenizer.unk_token_id) for one in ids) / sum(lengths)
        assert found.duplicates == len(rows) - len({row["text"] for row in rows})
        if split != "train":
            assert exact.overlaps[f"train/{split}"] == sum(row["text"] in train_texts for row in rows)
        assert of_tokens.splits[split].cut == sum(length >= limit for length in lengths)  # type: ignore[index]
    assert exact.overlaps["train/test"] > 0 and exact.splits["test"].unknown > 0 and exact.splits["train"].cut > 0


def test_both_reports_agree_where_nothing_is_cut(tmp_path: Path, tokenizer: Any) -> None:
    splits = clean_splits()
    splits["train"] += splits["train"][:4]
    splits["test"][0] = splits["train"][0]
    exact, of_tokens = both(make_task(tmp_path, splits), tokenizer)
    assert exact.splits == of_tokens.splits and exact.overlaps == of_tokens.overlaps
    assert exact.splits["train"].duplicates == 4 and exact.overlaps["train/test"] == 1
    assert exact.warnings == of_tokens.warnings


def test_clean_data_raise_no_warning(tmp_path: Path, tokenizer: Any) -> None:
    for report in both(make_task(tmp_path, clean_splits()), tokenizer):
        assert report.warnings == []
        assert "60 train, 20 validation, 20 test" in summary(report)


def _cut(splits: dict[str, list[Row]]) -> None:
    for row in splits["train"][:7]:
        row["text"] += " dog" * 200


def _same(splits: dict[str, list[Row]]) -> None:
    splits["test"][0] = dict(splits["train"][0])


def _absent(splits: dict[str, list[Row]]) -> None:
    splits["validation"] = [row for row in splits["validation"] if row["label"] == "a"]


def _empty(splits: dict[str, list[Row]]) -> None:
    splits["train"][0]["text"] = " "


def _contradiction(splits: dict[str, list[Row]]) -> None:
    splits["train"].append({**splits["train"][0], "label": "b"})


def _unknown(splits: dict[str, list[Row]]) -> None:
    for row in splits["train"]:
        row["text"] = "☃ " * (len(row["text"]) % 7 + 1) + row["text"]


@pytest.mark.parametrize(
    ("spoil", "warning"),
    [
        (_cut, "11.7 % of train, 0.0 % of validation, 0.0 % of test"),
        (_same, "1 of 20 test inputs are train inputs too"),
        (_absent, "no row of validation has the label b"),
        (_empty, "1 input of train without any text"),
        (_contradiction, "1 input of train with different labels"),
        (_unknown, "does not know"),
    ],
)
def test_each_fault_is_warned_of_by_both_reports(spoil: Any, warning: str, tmp_path: Path, tokenizer: Any) -> None:
    splits = clean_splits()
    spoil(splits)
    for report in both(make_task(tmp_path, splits), tokenizer):
        assert [warning in line for line in report.warnings] == [True], report.warnings
        assert report.warnings[0].startswith("made: ")


def test_a_label_of_many_tokens_is_warned_of(tmp_path: Path, tokenizer: Any) -> None:
    task = make_task(tmp_path, clean_splits(), labels={"a": "emergency", "b": "emerald"}, label_names=["x", "y"])
    for report in both(task, tokenizer):
        (line,) = report.warnings
        assert "label 'emergency' has 9 tokens (2 of 2 labels have more than 3)" in line and 'x: "0"' in line
        assert report.shared_first == [["x", "y"]]


def test_without_a_tokenizer_rows_and_labels_are_counted(tmp_path: Path) -> None:
    splits = clean_splits()
    splits["test"][0] = dict(splits["train"][0])
    report = report_on_rows(make_task(tmp_path, splits), DataSection(), 42, False, None)
    assert report.limits is None and report.shared_first == [] and report.examples == []
    assert [(label.name, label.pieces) for label in report.labels] == [("a", []), ("b", [])]
    assert report.splits["train"].labels == {"a": 30, "b": 30} and report.splits["train"].lengths == {}
    assert [line.startswith("made: 1 of 20 test inputs") for line in report.warnings] == [True]


def test_examples_are_what_the_model_sees(tmp_path: Path, tokenizer: Any) -> None:
    report, _ = both(make_task(tmp_path, clean_splits()), tokenizer, length=4)
    assert [example.target for example in report.examples[:2]] == ["a </s>", "b </s>"]
    first = report.examples[0]
    assert len(report.examples) == 3 and len(first.input_ids) == 4 and first.input == "mary not not </s>"


def test_tasks_show_and_a_dry_run_print_it(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["tasks", "show", "mini_sst2", "--json"])
    data = json.loads(shown.stdout)["data"]
    assert data["splits"]["train"]["rows"] == 12000 and len(data["examples"]) == 3 and data["warnings"] == []
    text = CliRunner().invoke(app, ["tasks", "show", "mini_sst2", "--verbose"]).stdout
    assert " ".join(map(str, data["examples"][0]["input_ids"])) in text
    planned = CliRunner().invoke(app, ["train", "quickstart", "--dry-run", "tasks=[mini_sst2]", "--json"])
    assert json.loads(planned.stdout)["data"]["mini_sst2"]["splits"] == data["splits"]
