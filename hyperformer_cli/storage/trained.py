"""The two files of a trained model: `hyperformer.json` says what it is, `hyperformer.safetensors` holds its tensors.

hyperformer.json          format_version, adapter (the fields of AdapterConfig), backbone (where it came from, and
                          hashes by which it is recognised), and in a static export "weights": "static"
hyperformer.safetensors   the trained tensors, and no others
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import atomic_path, write_json
from hyperformer_cli.storage.json_files import read_json
from hyperformer_cli.storage.manifest import remove_manifest

FORMAT_VERSION = 1
CONFIG_FILE = "hyperformer.json"
WEIGHTS_FILE = "hyperformer.safetensors"


@dataclass(frozen=True)
class Description:
    """The content of `hyperformer.json`.

    Attributes:
        config: the method.
        backbone: `name`, `revision`, `init`, `config`, `seed` and `dtype` of the backbone's source.
        configuration_sha256, frozen_sha256: of the backbone's configuration, and of its frozen weights.
        weights: `trained`, or `static` where each task's adapters were generated before; see `storage.static`.
    """

    config: AdapterConfig
    backbone: dict[str, Any]
    configuration_sha256: str
    frozen_sha256: str
    weights: str = "trained"

    def as_dict(self) -> dict[str, Any]:
        hashes = {"configuration_sha256": self.configuration_sha256, "frozen_sha256": self.frozen_sha256}
        kind = {} if self.weights == "trained" else {"weights": self.weights}
        adapter = self.config.model_dump()
        return {"format_version": FORMAT_VERSION, **kind, "adapter": adapter, "backbone": {**self.backbone, **hashes}}


def write_trained(folder: Path, description: Description, tensors: Mapping[str, Tensor]) -> None:
    """Writes both files, the configuration last, so that a folder with a configuration is whole.

    A manifest that the folder has is removed: it is that of other files.
    """
    remove_manifest(folder)
    write_tensors(folder / WEIGHTS_FILE, tensors)
    write_json(folder / CONFIG_FILE, description.as_dict())


def read_description(folder: Path) -> Description:
    """The content of a folder's `hyperformer.json`.

    Raises:
        InputError: it is missing, damaged, or of another format version.
    """
    file = folder / CONFIG_FILE
    try:
        content = read_json(file)
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no {CONFIG_FILE} here; give a folder that save_pretrained wrote") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: damaged ({error})") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(f"{file}: format version {version}; this release reads {FORMAT_VERSION}")
    try:
        backbone = dict(content["backbone"])
        hashes = str(backbone.pop("configuration_sha256")), str(backbone.pop("frozen_sha256"))
        config = AdapterConfig(**content["adapter"])
    except (KeyError, TypeError, ValueError) as error:  # a ValidationError is a ValueError
        raise InputError(f"{file}: damaged ({str(error).splitlines()[0]})") from error
    return Description(config, backbone, *hashes, weights=content.get("weights", "trained"))


def copy_tensors(file: Path, parameters: Mapping[str, Tensor]) -> None:
    """Copies the tensors of a file into parameters of the same names: all of them, and no others.

    Raises:
        InputError: the file is missing, damaged, or of another model.
    """
    tensors = read_tensors(file)
    check_tensors(file, tensors, {name: tuple(parameter.shape) for name, parameter in parameters.items()})
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def check_tensors(file: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses tensors that have other names or shapes than expected.

    Raises:
        InputError: naming the first that differs.
    """
    if tensors.keys() != expected.keys():
        odd = sorted(tensors.keys() ^ expected.keys())
        raise InputError(f"{file}: not the tensors of this model; {len(odd)} differ, the first is {odd[0]}")
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != tuple(shape):
            raise InputError(f"{file}: {name} has shape {list(tensors[name].shape)}, not {list(shape)}")


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The content of a safetensors file.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file}: missing or damaged ({error})") from error


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file, atomically.

    Raises:
        WriteError: the disk is full.
    """
    with atomic_path(file) as temporary:
        save_file(detached(tensors), temporary, metadata={"format": "pt"})


def detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU, as safetensors writes them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
