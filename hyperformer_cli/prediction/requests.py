"""From a row to what is asked of the model: an id, a task, and the encoder's text as in training."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.prediction.rows import Row, is_text
from hyperformer_cli.tasks.task import Task

_ID_COLUMNS = ("id", "idx")
_READY_TEXT = "text"


@dataclass(frozen=True)
class Request:
    """One input of the model.

    Attributes:
        id: the row's `id`, else its `idx`, else its number from 0.
        task: name of the task.
        text: the encoder's input.
    """

    id: str | int | float
    task: str
    text: str


class RequestReader:
    """Makes requests of rows.

    Args:
        tasks: the run's, by name.
        task: the task of every row; None reads it from the column `task`, which a run of one task can do without.
        with_prefix: whether inputs begin with the task's name, as plain fine-tuning has them.

    Raises:
        InputError: the run does not have the task.
    """

    def __init__(self, tasks: Mapping[str, Task], task: str | None, with_prefix: bool):
        self._tasks, self._with_prefix = tasks, with_prefix
        self._given = task
        self._default = next(iter(tasks)) if len(tasks) == 1 else None
        if task is not None:
            self._known(task)

    def check_header(self, columns: Sequence[str]) -> None:
        """Refuses a table that lacks what every row needs.

        Raises:
            InputError: with the columns there are.
        """
        found = f"; found: {', '.join(columns)}"
        if self._given is None and "task" not in columns:
            if self._default is None:
                raise InputError(f"no column 'task', and no --task ({', '.join(self._tasks)}){found}")
            _check_columns(self._tasks[self._default], columns, found)
        elif self._given is not None:
            _check_columns(self._tasks[self._given], columns, found)

    def __call__(self, row: Row) -> Request:
        """The request of a row.

        Raises:
            InputError: no task or one the run does not have; a column that is missing, null or of another type.
        """
        task = self._tasks[self._task_of(row.values)]
        return Request(_id_of(row), task.name, self._text(task, row.values))

    def _task_of(self, values: Mapping[str, Any]) -> str:
        if self._given is not None:
            return self._given
        if "task" not in values:
            if self._default is None:
                raise InputError(f"no column 'task', and no --task ({', '.join(self._tasks)})")
            return self._default
        return self._known(values["task"])

    def _known(self, task: object) -> str:
        if not isinstance(task, str) or task not in self._tasks:
            raise InputError(f"the run has no task {task!r}; {did_you_mean(str(task), self._tasks)}")
        return task

    def _text(self, task: Task, values: Mapping[str, Any]) -> str:
        _check_columns(task, values)
        if any(column not in values for column in _columns(task)):
            # What is ready takes the place of the filled template.
            task = task.model_copy(update={"template": f"{{{_READY_TEXT}}}"})
        for field in _fields(task):
            _check_field(field, values)
        text = task.input_text(values, self._with_prefix)
        if not is_text(text):
            raise InputError("the text holds half a character (a lone surrogate)")
        return text


def _check_columns(task: Task, present: Sequence[str] | Mapping[str, Any], ending: str = "") -> None:
    missing = [column for column in _columns(task) if column not in present]
    if missing and _READY_TEXT not in present:
        raise InputError(f"no column '{missing[0]}', which task '{task.name}' needs (or '{_READY_TEXT}'){ending}")


def _fields(task: Task) -> list[str]:
    """What stands in the template's braces: `sentence1`, `choices[text][0]`."""
    return [name for _, name, _, _ in Formatter().parse(task.template) if name]


def _columns(task: Task) -> list[str]:
    return [_column(field) for field in _fields(task)]


def _column(field: str) -> str:
    return re.split(r"[.\[]", field)[0]


def _check_field(field: str, values: Mapping[str, Any]) -> None:
    """Formatting would write whatever it finds: a null as `None`, the first letter of a text as its first item."""
    column = _column(field)
    value = values[column]
    if value is None:
        raise InputError(f"column '{column}' is null")
    if column != field:
        if not isinstance(value, (list, dict)):
            raise InputError(f"column '{column}' must hold several texts; only JSON lines can")
        try:
            value, _ = Formatter().get_field(field, (), values)
        except (LookupError, TypeError, AttributeError):
            raise InputError(f"column '{column}' has no '{field.removeprefix(column)}'") from None
    if not isinstance(value, str):
        raise InputError(f"'{field}' is not text but {str(value)[:40]}")


def _id_of(row: Row) -> str | int | float:
    for column in _ID_COLUMNS:
        value = row.values.get(column)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise InputError(f"'{column}' is neither text nor a number")
        if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, str) and not is_text(value)):
            raise InputError(f"'{column}' cannot be written as JSON")
        return value
    return row.number
