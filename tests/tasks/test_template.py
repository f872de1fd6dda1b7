"""Templates: what they may say, and the rows they are filled with; the same in training and in prediction."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.tokenization import formatted_rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.prediction.requests import RequestReader
from hyperformer_cli.prediction.rows import Row
from hyperformer_cli.tasks.task import Task
from hyperformer_cli.tasks.template import checked_template, fill_template


def task_of(template: str) -> Task:
    return Task(name="own", template=template, labels={"0": "no", "1": "yes"})


@pytest.mark.parametrize("template", ["{x[]}", "{x[0]y}", "{x[0][]}", "{[0]}", "{x[}", "{x[0}", "{x.y}", "{x]}", "{}"])
def test_what_is_no_field_is_refused_with_the_definition(template: str) -> None:
    with pytest.raises(ValueError, match=r"only columns|not a template|name columns"):
        checked_template(template)


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("a {x} b", {"x": "{y}"}, "a {y} b"),
        ("{{x}} {x}", {"x": "1"}, "{x} 1"),
        ("{x[0]}{x[2]}", {"x": ["a", None, "c"]}, "ac"),
        ("{x[text][1]}", {"x": {"text": ["a", "b"]}}, "b"),
        ("{x[0]}", {"x": {"0": "a"}}, "a"),
        ("{0}", {"0": "a"}, "a"),
        ("{of two words}", {"of two words": "a"}, "a"),
    ],
)
def test_filled_templates(template: str, row: dict[str, Any], text: str) -> None:
    assert fill_template(checked_template(template), row) == text


@pytest.mark.parametrize(
    ("template", "value", "complaint"),
    [
        ("{x[1]}", ["a", None], "'x[1]' is not text but None"),
        ("{x}", ["a", "b"], "'x' is not text but ['a', 'b']"),
        ("{x[0]}", "abc", "column 'x' must hold several texts (as in JSON lines or parquet), not abc"),
        ("{x[0][1]}", ["abc"], "'x[0]' must hold several texts (as in JSON lines or parquet), not abc"),
        ("{x[2]}", ["a", "b"], "column 'x' has no '[2]'"),
        ("{x[-1]}", ["a", "b"], "column 'x' has no '[-1]'"),
        ("{x[a]}", {"b": "c"}, "column 'x' has no '[a]'"),
        ("{x[a]}", {"a": ["b"]}, "'x[a]' is not text but ['b']"),
        ("{x}", None, "column 'x' is null"),
    ],
)
def test_training_and_prediction_refuse_the_same_rows(
    template: str, value: Any, complaint: str, tmp_path: Path
) -> None:
    task, columns = task_of(template), {"x": pa.array([value], pa.string() if value is None else None)}
    (tmp_path / "own").mkdir()
    parquet.write_table(pa.table({**columns, "label": [1]}), tmp_path / "own" / "train.parquet")
    with pytest.raises(InputError) as trained:
        list(formatted_rows(task, load_rows(task, "train", str(tmp_path)), prefix=False))
    assert str(trained.value) == f"{tmp_path}/own/train.parquet: row 1: {complaint}"
    with pytest.raises(InputError) as predicted:
        RequestReader({"own": task}, None, False)(Row(1, 0, {"x": value}))
    assert str(predicted.value) == complaint


def test_a_free_text_to_write_is_checked_too(tmp_path: Path) -> None:
    task = Task(name="own", template="{x}", target="{y[0]}")
    (tmp_path / "own").mkdir()
    parquet.write_table(pa.table({"x": ["a"], "y": [[None, "b"]]}), tmp_path / "own" / "train.parquet")
    with pytest.raises(InputError, match=r"row 1: 'y\[0\]' is not text but None"):
        list(formatted_rows(task, load_rows(task, "train", str(tmp_path)), prefix=False))
