"""A trained model without what generates its adapters: one file of plain adapter tensors per task.

    hyperformer.json            as in `storage.trained`, with `"weights": "static"`
    layer_norms.safetensors     the backbone's layer norms, common to the tasks, under the backbone's own names
    adapters/<task>.json        what there is to know about the task's adapters
    adapters/<task>.safetensors <stack>.<layer>.<position>.<tensor>, float32

Without adapter blocks there is no file of a task's tensors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.storage.json_files import read_json
from hyperformer_cli.storage.manifest import remove_manifest
from hyperformer_cli.storage.trained import (
    CONFIG_FILE,
    FORMAT_VERSION,
    Description,
    check_tensors,
    read_tensors,
    write_tensors,
)

STATIC = "static"
NORMS_FILE = "layer_norms.safetensors"
ADAPTERS_FOLDER = "adapters"


def write_static(
    folder: Path,
    description: Description,
    layer_norms: Mapping[str, Tensor],
    adapters: Mapping[str, Mapping[str, Tensor]],
    arithmetic: Mapping[str, Any],
    about: Mapping[str, Mapping[str, Any]],
) -> list[Path]:
    """Writes the layer norms and every task's adapters, `hyperformer.json` last.

    Args:
        folder: where to.
        description: of the model, with these tasks and `weights="static"`.
        layer_norms: under the backbone's names.
        adapters: by task, tensors by `<stack>.<layer>.<position>.<tensor>`; none for a method without adapters.
        arithmetic: what of the adapter form does not follow from its tensors.
        about: by task, further entries of its JSON.

    Returns:
        The files.
    """
    remove_manifest(folder)  # it is that of other files
    files = [folder / NORMS_FILE]
    write_tensors(files[0], layer_norms)
    for task, tensors in adapters.items():
        if tensors:
            files.append(folder / ADAPTERS_FOLDER / f"{task}.safetensors")
            write_tensors(files[-1], tensors)
        described = {
            "format_version": FORMAT_VERSION,
            "task": task,
            "backbone": {key: description.backbone.get(key) for key in ("name", "revision", "dtype")},
            **arithmetic,
            "adapters": f"{task}.safetensors" if tensors else None,
            "parameters": sum(tensor.numel() for tensor in tensors.values()),
            **about.get(task, {}),
        }
        files.append(folder / ADAPTERS_FOLDER / f"{task}.json")
        write_json(files[-1], described)
    files.append(folder / CONFIG_FILE)
    write_json(files[-1], description.as_dict())
    return files


def read_static_task(
    folder: Path, task: str, arithmetic: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """A task's adapters.

    Args:
        folder: that `write_static` wrote.
        task: its name.
        arithmetic: as it was given to `write_static`.
        expected: the shape of every tensor, by `<stack>.<layer>.<position>.<tensor>`.

    Raises:
        InputError: a file is missing, damaged, or of another model.
    """
    _check_task_description(folder / ADAPTERS_FOLDER / f"{task}.json", arithmetic)
    file = folder / ADAPTERS_FOLDER / f"{task}.safetensors"
    tensors = read_tensors(file)
    check_tensors(file, tensors, expected)
    return tensors


def _check_task_description(file: Path, arithmetic: Mapping[str, Any]) -> None:
    """What a program without this package goes by must say the same as hyperformer.json."""
    expected = {"format_version": FORMAT_VERSION, **arithmetic}
    try:
        described = read_json(file)
        found = {key: described[key] for key in expected}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: missing or damaged ({error})") from error
    for key, value in expected.items():
        if found[key] != value:
            raise InputError(f"{file}: {key} is {found[key]!r}, not {value!r}")
