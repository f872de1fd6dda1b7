"""Paths of data in a recipe, made absolute when it is loaded, so that its run can be used from any folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hyperformer_cli.bundled import BUNDLED

_NAMES = ("hub", BUNDLED)  # values of data.source that are no paths


def with_absolute_paths(values: dict[str, Any], origins: dict[str, str]) -> dict[str, Any]:
    """A recipe's plain values with `data.source` and the `files` of tasks absolute, where these exist.

    A relative path starts from the folder of the file that it was written in; where there is no such file, from the
    current folder, as on the command line. What is in neither stays as it is, for the message that it is missing.

    Args:
        values: task files read.
        origins: where each dotted key's value came from: `file:line`, or an override.
    """
    values = dict(values)
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("source"), str) and data["source"] not in _NAMES:
        values["data"] = {**data, **_absolute({"source": data["source"]}, "data", origins)}
    values |= {"tasks": _of_entries(values["tasks"], "tasks", origins)} if isinstance(values.get("tasks"), list) else {}
    fewshot = values.get("fewshot")
    if isinstance(fewshot, dict) and isinstance(fewshot.get("target_tasks"), list):
        targets = _of_entries(fewshot["target_tasks"], "fewshot.target_tasks", origins)
        values["fewshot"] = {**fewshot, "target_tasks": targets}
    return values


def _of_entries(entries: list[Any], key: str, origins: dict[str, str]) -> list[Any]:
    return [
        {**entry, "files": _absolute(entry["files"], f"{key}.{i}.files", origins)}
        if isinstance(entry, dict) and isinstance(entry.get("files"), dict)
        else entry
        for i, entry in enumerate(entries)
    ]


def _absolute(paths: dict[str, Any], key: str, origins: dict[str, str]) -> dict[str, Any]:
    found = dict(paths)
    for name, path in paths.items():
        if isinstance(path, str) and path and not Path(path).is_absolute():
            places = (folder / path for folder in _folders(f"{key}.{name}", origins))
            found[name] = next((str(place.resolve()) for place in places if place.exists()), path)
    return found


def _folders(key: str, origins: dict[str, str]) -> Iterator[Path]:
    while key and key not in origins:
        key = key.rpartition(".")[0]
    writer = Path(origins.get(key, "").rpartition(":")[0])
    if writer.is_file():
        yield writer.parent
    yield Path()
