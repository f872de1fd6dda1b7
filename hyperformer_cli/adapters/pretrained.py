"""The two files of a trained model: `hyperformer.json` and `hyperformer.safetensors` (trained tensors only)."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hyperformer_cli.backbones.source import BackboneSource, configuration_hash, load_backbone
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import atomic_path, write_json

if TYPE_CHECKING:
    from hyperformer_cli.adapters.model import AdaptedModel

FORMAT_VERSION = 1
CONFIG_FILE = "hyperformer.json"
WEIGHTS_FILE = "hyperformer.safetensors"


def save(model: "AdaptedModel", folder: Path) -> None:
    """Writes both files, the configuration last, so that a folder with a configuration is whole."""
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        save_file(detached(model.trained_parameters()), temporary, metadata={"format": "pt"})
    description = {"format_version": FORMAT_VERSION, "adapter": model.config.model_dump()}
    write_json(folder / CONFIG_FILE, description | {"backbone": describe_backbone(model)})


def describe_backbone(model: "AdaptedModel") -> dict[str, Any]:
    """Where the backbone came from, and the hashes by which loading recognises it."""
    source = model.source or BackboneSource(None)
    hashes = {"configuration_sha256": configuration_hash(model.backbone.config), "frozen_sha256": frozen_hash(model)}
    return {**source.as_dict(), **hashes}


def load(cls: type["AdaptedModel"], folder: Path, backbone: nn.Module | None) -> "AdaptedModel":
    """The inverse of `save`; see `AdaptedModel.from_pretrained`."""
    model = attach_described(cls, folder, backbone)
    load_trained(model, folder / WEIGHTS_FILE)
    return model


def attach_described(
    cls: type["AdaptedModel"],
    folder: Path,
    backbone: nn.Module | None,
    make_bank: Callable[[nn.Module, AdapterConfig], nn.Module | None] = lambda backbone, config: None,
) -> "AdaptedModel":
    """The backbone a folder describes (or the one given, checked), with its method attached; no weights loaded.

    Args:
        cls: the model's class.
        folder: with `hyperformer.json`.
        backbone: in place of the one described.
        make_bank: makes the bank in place of the method's own.
    """
    description = read_description(folder)
    try:
        stored = dict(description["backbone"])
        expected_config, expected_frozen = stored.pop("configuration_sha256"), stored.pop("frozen_sha256")
        source, config = BackboneSource(**stored), AdapterConfig(**description["adapter"])
    except (KeyError, TypeError, ValueError) as error:  # a ValidationError is a ValueError
        raise InputError(f"{folder / CONFIG_FILE}: damaged ({str(error).splitlines()[0]})") from error
    known = source.is_pinned and backbone is None  # a commit's weights are what they were
    backbone = backbone if backbone is not None else load_backbone(source)
    if configuration_hash(backbone.config) != expected_config:
        raise InputError(f"{folder}: trained on a backbone of another configuration than the one given")
    model = cls.attach(backbone, config, source, make_bank(backbone, config))
    if not known and frozen_hash(model) != expected_frozen:
        what = "a random draw that comes out otherwise here" if source.init == "random" else "changed, or others"
        raise InputError(f"{folder}: the backbone's frozen weights are not those it was trained on ({what})")
    return model


def load_trained(model: "AdaptedModel", file: Path) -> None:
    """Copies the tensors of a file into the model's trained parameters: all of them, and no others.

    Raises:
        InputError: the file is missing, damaged, or of another model.
    """
    load_parameters(model.trained_parameters(), file)


def load_parameters(parameters: dict[str, nn.Parameter], file: Path) -> None:
    """The same for parameters by name."""
    tensors = read_tensors(file)
    if tensors.keys() != parameters.keys():
        odd = sorted(tensors.keys() ^ parameters.keys())
        raise InputError(f"{file}: not the tensors of this model; {len(odd)} differ, the first is {odd[0]}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            if tensors[name].shape != parameter.shape:
                raise InputError(f"{file}: {name} has shape {list(tensors[name].shape)}, not {list(parameter.shape)}")
            parameter.copy_(tensors[name])


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The content of a safetensors file.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file}: missing or damaged ({error})") from error


def detached(parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU, as safetensors writes them."""
    return {name: parameter.detach().cpu().contiguous() for name, parameter in parameters.items()}


def frozen_hash(model: "AdaptedModel") -> str:
    """SHA-256 over the frozen parameters' bytes in order of name."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def read_description(folder: Path) -> dict[str, Any]:
    """The content of a folder's `hyperformer.json`.

    Raises:
        InputError: it is missing, damaged, or of another format version.
    """
    file = folder / CONFIG_FILE
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no {CONFIG_FILE} here; give a folder that save_pretrained wrote") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: damaged ({error})") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(f"{file}: format version {version}; this release reads {FORMAT_VERSION}")
    return description
