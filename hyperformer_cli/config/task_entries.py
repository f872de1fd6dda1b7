"""A task in a recipe's list: the name of a shipped one, a definition, or the path of a YAML file with a definition."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from hyperformer_cli.errors import InputError
from hyperformer_cli.schema import yaml_lines
from hyperformer_cli.tasks.registry import is_task_file
from hyperformer_cli.tasks.task import Task


def _kind_of_entry(entry: Any) -> str:
    return "(definition)" if isinstance(entry, dict | Task) else "(name)"


# A path is replaced by the definition in its file before a recipe is validated.
TaskEntry = Annotated[
    Annotated[str, Tag("(name)")] | Annotated[Task, Tag("(definition)")], Discriminator(_kind_of_entry)
]


def entry_name(entry: Any) -> Any:
    """The name of a task in a list, checked or not."""
    return entry.name if isinstance(entry, Task) else entry.get("name") if isinstance(entry, dict) else entry


def read_task_files(values: dict[str, Any], origins: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """A recipe's plain values with the definitions that its task files hold, and where each value came from.

    A relative path starts from the folder of the recipe, else from the current one.

    Raises:
        InputError: no such file, or one that cannot be read.
    """
    values, origins = dict(values), dict(origins)
    if isinstance(values.get("tasks"), list):
        values["tasks"] = _read_entries(values["tasks"], "tasks", origins)
    fewshot = values.get("fewshot")
    if isinstance(fewshot, dict) and isinstance(fewshot.get("target_tasks"), list):
        read = _read_entries(fewshot["target_tasks"], "fewshot.target_tasks", origins)
        values["fewshot"] = {**fewshot, "target_tasks": read}
    return values, origins


def _read_entries(entries: list[Any], key: str, origins: dict[str, str]) -> list[Any]:
    """The entries, paths replaced by what their files hold; adds the places of that to `origins`."""
    read = list(entries)
    for i, entry in enumerate(entries):
        if is_task_file(entry):
            path = _find(entry, origins.get(f"{key}.{i}") or origins.get(key) or key, origins.get("", ""))
            read[i], lines = yaml_lines.read_mapping(path, "a task")
            origins[f"{key}.{i}"] = str(path)
            origins.update({f"{key}.{i}.{inner}": f"{path}:{line}" for inner, line in lines.items()})
    return read


def _find(entry: str, origin: str, recipe: str) -> Path:
    """The file that an entry names; `origin` (`file:line`, or an override) is where the entry was written."""
    writers = [Path(file) for file in (origin.rpartition(":")[0], recipe)]
    folders = [*(file.parent for file in writers if file.is_file()), Path()]
    for folder in folders:
        if (folder / entry).is_file():
            return folder / entry
    searched = dict.fromkeys(str(folder.resolve()) for folder in folders)
    raise InputError(f"{origin}: no task file '{entry}' in {' or '.join(searched)}")
