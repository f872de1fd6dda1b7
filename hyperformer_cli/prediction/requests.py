"""From a row to a request of the model: an id, a task, and the input text as in training."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.prediction.rows import Row, is_text
from hyperformer_cli.prediction.tally import gold_text
from hyperformer_cli.tasks.conversation import Conversation
from hyperformer_cli.tasks.task import Task
from hyperformer_cli.tasks.template import template_columns

_ID_COLUMNS = ("id", "idx")
_READY_TEXT = "text"


@dataclass(frozen=True)
class Request:
    """One input of the model.

    Attributes:
        id: the row's value in the given column; by default its `id`, else its `idx`, else its number from 0.
        task: its task's name.
        text: the input.
        gold: the target text that the row states, if it does.
        kept: columns of the row that its prediction repeats.
    """

    id: str | int | float
    task: str
    text: str | Conversation
    gold: str | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)


class RequestReader:
    """Turns rows into requests.

    Args:
        tasks: the run's, by name.
        task: the task of every row. None reads it from the column `task`, which a run of one task does not need.
        with_prefix: whether inputs begin with the task's name, as in plain fine-tuning.
        id_column: where ids are; by default `id`, `idx`, or the row's number.
        keeps: whether requests keep the columns of their rows.

    Raises:
        InputError: the run does not have the task.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        task: str | None,
        with_prefix: bool,
        id_column: str | None = None,
        keeps: bool = False,
    ):
        self._tasks, self._with_prefix, self._id_column, self._keeps = tasks, with_prefix, id_column, keeps
        self._given = None if task is None else self._known(task)
        # Columns that a prediction has under their own names.
        self._said = [*(["id"] if id_column in (None, "id") else []), *(["task"] if task is None else [])]

    def check_header(self, columns: Sequence[str]) -> None:
        """Refuses a table without the columns that every row needs, by an InputError that names those it found."""
        if self._id_column is not None and self._id_column not in columns:
            raise InputError(f"no column '{self._id_column}' (--id-column); found: {', '.join(columns)}")
        if self._given is None and "task" in columns:  # then what a row needs depends on its task
            return
        try:
            _check_columns(self._tasks[self._task_of({})], columns)
        except InputError as error:
            raise InputError(f"{error}; found: {', '.join(columns)}") from None

    def __call__(self, row: Row) -> Request:
        """The request of a row.

        Raises:
            InputError: no task, or one the run does not have; a column that is missing, null or of another type.
        """
        task = self._tasks[self._task_of(row.values)]
        kept = _checked({k: v for k, v in row.values.items() if k not in self._said}) if self._keeps else {}
        gold = gold_text(task, row.values)
        return Request(self._id_of(row), task.name, self._text(task, row.values), gold, kept)

    def _task_of(self, values: Mapping[str, Any]) -> str:
        if self._given is not None:
            return self._given
        if "task" in values:
            return self._known(values["task"])
        if len(self._tasks) != 1:
            raise InputError(f"no column 'task', and no --task ({', '.join(self._tasks)})")
        return next(iter(self._tasks))

    def _known(self, task: object) -> str:
        if not isinstance(task, str) or task not in self._tasks:
            raise InputError(f"the run has no task {task!r}; {did_you_mean(str(task), self._tasks)}")
        return task

    def _id_of(self, row: Row) -> str | int | float:
        if self._id_column is not None and row.values.get(self._id_column) is None:
            raise InputError(f"no '{self._id_column}', which --id-column names")
        for column in _ID_COLUMNS if self._id_column is None else (self._id_column,):
            if (value := row.values.get(column)) is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                raise InputError(f"'{column}' is neither text nor a number")
            if (isinstance(value, float) and not math.isfinite(value)) or (
                isinstance(value, str) and not is_text(value)
            ):
                raise InputError(f"'{column}' cannot be written as JSON")
            return value
        return row.number

    def _text(self, task: Task, values: Mapping[str, Any]) -> str | Conversation:
        if not _check_columns(task, values):  # in place of the filled template
            task = task.model_copy(update={"template": f"{{{_READY_TEXT}}}", "messages": None})
        text = task.model_input(values, self._with_prefix)
        if not is_text(str(text)):
            raise InputError("the text holds half a character (a lone surrogate)")
        return text


def _check_columns(task: Task, present: Collection[str]) -> bool:
    """Whether all columns of the task's template are present; an InputError if a ready-made text is not either."""
    missing = [column for column in template_columns(task.template) if column not in present]
    if missing and _READY_TEXT not in present:
        raise InputError(f"no column '{missing[0]}', which task '{task.name}' needs (or '{_READY_TEXT}')")
    return not missing


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a row, if they can be written again."""
    try:
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):  # of which UnicodeEncodeError is one
        raise InputError("--keep: a column holds what JSON cannot (NaN, an infinity, half a character)") from None
    return values
