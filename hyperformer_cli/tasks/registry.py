"""The shipped tasks by name, from the YAML files in `shipped/`, one for each task; and a task from any such file."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.schema import yaml_lines
from hyperformer_cli.schema.explain import explain
from hyperformer_cli.tasks.task import Task

GROUPS = ("glue", "transfer", "question_answering", "translation", "miniature")
SHIPPED = Path(__file__).parent / "shipped"


def is_task_file(entry: object) -> bool:
    """Whether a task is given as a path to a YAML file."""
    return isinstance(entry, str) and entry.endswith((".yaml", ".yml"))


def task_names() -> list[str]:
    """The shipped tasks' names: group by group, alphabetical within a group."""
    return list(_files(SHIPPED))


def all_tasks() -> list[Task]:
    """Every shipped task, in the order of `task_names`."""
    return [get_task(name) for name in task_names()]


def get_task(name: str) -> Task:
    """A task by name, or from a YAML file.

    Args:
        name: a shipped task's name, or a path that ends in `.yaml` or `.yml`.

    Raises:
        InputError: an unknown task, with the nearest name; or the file is wrong, with file and line.
    """
    if is_task_file(name):
        return check_is_new(_load(Path(name)))
    return _shipped(task_file(name))


def task_file(name: str) -> Path:
    """The file of a shipped task.

    Raises:
        InputError: with the nearest valid name.
    """
    files = _files(SHIPPED)
    if name not in files:
        raise InputError(f"unknown task '{name}'; {did_you_mean(name, files)}")
    return files[name]


def copy_of(name: str, new_name: str) -> str:
    """The text of a shipped task's file, comment included, with another name.

    Raises:
        InputError: no such task, or the new name is not valid or a shipped task's.
    """
    line = yaml.safe_dump({"name": new_name}, allow_unicode=True).strip()
    text = re.sub(r"^name: .*$", lambda _: line, task_file(name).read_text(encoding="utf-8"), count=1, flags=re.M)
    values, _ = yaml_lines.parse(text, new_name)
    check_is_new(_validated(values, {}, f"a copy of {name}"))
    return text


def check_is_new(task: Task) -> Task:
    """The task, one of a user's own.

    Raises:
        InputError: its name is a shipped task's.
    """
    if task.name in _files(SHIPPED):
        raise InputError(f"'{task.name}' is the name of a shipped task; give a task of your own another name")
    return task


@cache
def _files(shipped: Path) -> dict[str, Path]:
    return {path.stem: path for group in GROUPS for path in sorted((shipped / group).glob("*.yaml"))}


@cache
def _shipped(path: Path) -> Task:
    task = _load(path)
    if task.name != path.stem:
        raise InputError(f"{path}: name is '{task.name}'; the file must be named after its task")
    return task


def _load(path: Path) -> Task:
    return _validated(*yaml_lines.read_mapping(path, "a task"), str(path))


def _validated(values: dict[str, Any], lines: dict[str, int], origin: str) -> Task:
    try:
        return Task.model_validate(values)
    except ValidationError as error:
        origins = {"": origin} | {key: f"{origin}:{line}" for key, line in lines.items()}
        raise InputError("\n".join(explain(error, origins, Task))) from error
