"""JSON lines: what training reads is what prediction reads, and no line ends the process."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.tokenization import formatted_rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.prediction.requests import RequestReader
from hyperformer_cli.prediction.rows import Row, RowStream
from hyperformer_cli.tasks.task import Task

GOOD = '{"a": "x", "label": 0}\n'


def own_task(file: Path, **values: object) -> Task:
    values = {"template": "read: {a}", "labels": ["0", "1"], **values}
    return Task(name="own", files={"train": str(file), "validation": str(file)}, **values)


def trained_texts(task: Task) -> list[tuple[str, str]]:
    batches = formatted_rows(task, load_rows(task, "train", "hub"), False)
    return [pair for texts, targets in batches for pair in zip(texts, targets, strict=True)]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("null\n", "line 2: not a JSON object"),
        ("[1]\n", "line 2: not a JSON object"),
        ('{"a": "x", "label": 0, "more": ' + "[" * 100_000 + "]" * 100_000 + "}\n", "line 2: nested too deeply"),
        (GOOD.rstrip() + GOOD, r"line 2: not valid JSON \(Extra data, column 23\)"),
        ('{"a": "x", "a": "y", "label": 0}\n', "line 2: not readable JSON .key 'a' twice"),
        ('{"a": 5, "label": 0}\n', "line 2: 'a' is not text but 5"),
        ('{"a": "\\ud800", "label": 0}\n', "line 2: 'a' holds half a character"),
        ('{"a": "x", "label": "0"}\n', "column 'label': line 2: '0' is of another type than those before"),
        ('{"a": "\xe9", "label": 0}\n', "line 2: not UTF-8"),
    ],
)
def test_lines_that_are_no_rows_are_named(line: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(GOOD.encode() + line.encode("latin-1"))
    with pytest.raises(InputError, match=rf"rows\.jsonl: {complaint}"):
        trained_texts(own_task(file))


def test_a_file_that_begins_with_null_does_not_end_the_process(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("null\n" + GOOD)
    (tmp_path / "own.yaml").write_text(
        "name: own\ntemplate: 'read: {a}'\nlabels: ['0', '1']\nfiles: {train: rows.jsonl, validation: rows.jsonl}\n"
    )
    command = [sys.executable, "-m", "hyperformer_cli", "tasks", "show", "own.yaml"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert shown.returncode == 2 and "rows.jsonl: line 1: not a JSON object" in shown.stderr


def test_texts_that_look_like_dates_are_texts(tmp_path: Path) -> None:
    file, day = tmp_path / "rows.jsonl", "2020-01-01"
    file.write_text(json.dumps({"a": [day, day], "b": day, "label": day}) + "\n")
    assert trained_texts(own_task(file, template="read: {a[1]}", labels=[day, "never"])) == [(f"read: {day}", day)]
    assert trained_texts(own_task(file, template="read: {b}", labels=None, target="{b}")) == [(f"read: {day}", day)]


def test_columns_that_nobody_reads_may_hold_anything(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": "x", "label": 0, "note": 1}\n\n{"a": "y", "label": 1.0, "note": "one"}\n')
    assert trained_texts(own_task(file)) == [("read: x", "0"), ("read: y", "1")]


@pytest.mark.parametrize(
    "content", [GOOD, "\ufeff" + GOOD, "\n" + GOOD + "\r\n", '{"label": 1, "a": "\\ud83d\\ude00"}']
)
def test_training_and_prediction_read_the_same(content: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content.encode())
    task = own_task(file)
    read = RequestReader({"own": task}, "own", with_prefix=False)
    rows = [row for row in RowStream(io.BytesIO(content.encode()), "rows", "jsonl") if isinstance(row, Row)]
    assert [text for text, _ in trained_texts(task)] == [read(row).text for row in rows] != []


def test_a_truth_value_is_no_number(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": "x", "label": true}\n')
    with pytest.raises(InputError, match="row 1: label True in column 'label'; expected a number"):
        trained_texts(own_task(file, labels=None))
