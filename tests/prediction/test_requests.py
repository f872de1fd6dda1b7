"""From rows to ids, tasks and texts."""

from typing import Any

import pytest

from hyperformer_cli.errors import InputError
from hyperformer_cli.prediction.requests import Request, RequestReader
from hyperformer_cli.prediction.rows import Row
from hyperformer_cli.tasks.registry import get_task

TASKS = {name: get_task(name) for name in ("mrpc", "cola", "yelp_polarity", "commonsense_qa", "hellaswag")}
PAIR = {"sentence1": "A", "sentence2": "B"}
CHOICES = {"question": "Q", "choices": {"label": list("ABCDE"), "text": ["one", "two", "three", "four", "five"]}}


def request(values: dict[str, Any], task: str | None = None, with_prefix: bool = False) -> Request:
    return RequestReader(TASKS, task, with_prefix)(Row(9, 7, values))


def test_the_text_is_that_of_training() -> None:
    for task, row in (("mrpc", PAIR), ("commonsense_qa", CHOICES), ("yelp_polarity", {"text": "Good."})):
        for with_prefix in (False, True):
            expected = TASKS[task].input_text(row, with_prefix)
            assert request({**row, "other": None}, task, with_prefix) == Request(7, task, expected)
    assert request({"text": "Good."}, "yelp_polarity").text == "sentence: Good."


def test_a_ready_made_text_gets_only_the_prefix() -> None:
    assert request({"text": "{any} text"}, "mrpc").text == "{any} text"
    assert request({"text": "any text"}, "mrpc", with_prefix=True).text == "mrpc any text"
    assert request({"text": "not this", **PAIR}, "mrpc").text == "sentence1: A sentence2: B"
    prefixed = {"boolq": get_task("boolq")}
    assert RequestReader(prefixed, None, True)(Row(1, 0, {"text": "x"})).text == "superglue-boolq x"


def test_the_task_is_given_or_in_the_row_or_the_only_one() -> None:
    assert request({"sentence": "S", "task": "cola"}).task == "cola"
    assert request({"sentence": "S", "task": "what the data set calls its task"}, "cola").task == "cola"
    assert RequestReader({"cola": TASKS["cola"]}, None, False)(Row(1, 0, {"sentence": "S"})).task == "cola"
    with pytest.raises(InputError, match="did you mean 'mrpc'"):
        RequestReader(TASKS, "mrcp", False)


def test_ids() -> None:
    for columns, expected in (
        ({"id": "x", "idx": 3}, "x"), ({"id": 0, "idx": 3}, 0), ({"idx": 3}, 3), ({"id": 1.5}, 1.5),
        ({"id": None}, 7), ({}, 7),
    ):  # fmt: skip
        assert request({**PAIR, **columns}, "mrpc").id == expected


@pytest.mark.parametrize(
    ("values", "task", "part"),
    [
        ({"sentence1": "A"}, "mrpc", "no column 'sentence2', which task 'mrpc' needs"),
        ({"sentence1": "A", "sentence2": None}, "mrpc", "'sentence2' is null"),
        ({"sentence1": "A", "sentence2": None, "text": "x"}, "mrpc", "'sentence2' is null"),
        ({"sentence1": "A", "sentence2": 5}, "mrpc", "'sentence2' is not text but 5"),
        ({"sentence1": "A", "sentence2": ["B"]}, "mrpc", "'sentence2' is not text"),
        ({"text": None}, "mrpc", "'text' is null"),
        ({"text": {"a": "b"}}, "mrpc", "'text' is not text"),
        ({"sentence": "half \ud83d"}, "cola", "half a character"),
        ({**CHOICES, "choices": {"text": ["one"]}}, "commonsense_qa", "no '[text][1]'"),
        ({**CHOICES, "choices": {"texts": ["one"]}}, "commonsense_qa", "no '[text][0]'"),
        ({**CHOICES, "choices": ["one"]}, "commonsense_qa", "no '[text][0]'"),
        ({**CHOICES, "choices": {"text": [1, 2, 3, 4, 5]}}, "commonsense_qa", "is not text but 1"),
        ({"ctx": "C", "endings": "abcd"}, "hellaswag", "must hold several texts"),
        (PAIR, None, "no column 'task', and no --task"),
        ({**PAIR, "task": "mrcp"}, None, "'mrpc'"),
        ({**PAIR, "task": None}, None, "no task None"),
        ({**PAIR, "task": ["mrpc"]}, None, "no task ['mrpc']"),
        ({**PAIR, "id": [1]}, "mrpc", "'id' is neither text nor a number"),
        ({**PAIR, "idx": True}, "mrpc", "'idx' is neither"),
        ({**PAIR, "id": float("nan")}, "mrpc", "'id' cannot be written"),
        ({**PAIR, "id": "\udc00"}, "mrpc", "'id' cannot be written"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_asked(values: dict, task: str | None, part: str) -> None:
    with pytest.raises(InputError) as error:
        request(values, task)
    assert part in str(error.value)


def test_a_header_is_checked_at_once() -> None:
    reader = RequestReader(TASKS, "mrpc", False)
    reader.check_header(["sentence1", "sentence2"])
    reader.check_header(["text"])
    RequestReader(TASKS, None, False).check_header(["task"])  # which columns it takes is known row by row
    one_task = RequestReader({"x": TASKS["mrpc"].model_copy(update={"name": "x"})}, None, False)
    for refuses, columns in (
        (reader, ["sentence1"]),
        (RequestReader(TASKS, None, False), ["sentence"]),
        (one_task, ["a"]),
    ):
        with pytest.raises(InputError, match=r"no column .+; found: "):
            refuses.check_header(columns)
