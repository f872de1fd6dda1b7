"""A trained model without what generates its adapters: one file of plain adapter weights a task.

    hyperformer.json            as in `pretrained`, with `"weights": "static"`
    layer_norms.safetensors     T5's layer norms, common to the tasks, under T5's own names
    adapters/<task>.json        what there is to know about the task's adapters
    adapters/<task>.safetensors <stack>.<layer>.<position>.<down_weight, down_bias, up_weight, ...>, float32

Tensor names and shapes are those of `AdapterWeights.named_tensors`. Without adapter blocks there is no file of a
task's weights.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hyperformer_cli.adapters.banks import FrozenBank
from hyperformer_cli.adapters.pretrained import (
    CONFIG_FILE,
    FORMAT_VERSION,
    attach_described,
    describe_backbone,
    detached,
    load_parameters,
    read_description,
    read_tensors,
)
from hyperformer_cli.adapters.sites import STACKS, AdapterSite, find_sites
from hyperformer_cli.adapters.weights import LAYER_NORM_EPSILON, AdapterWeights
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import atomic_path, write_json

if TYPE_CHECKING:
    from hyperformer_cli.adapters.model import AdaptedModel

STATIC = "static"
NORMS_FILE = "layer_norms.safetensors"
ADAPTERS_FOLDER = "adapters"


def save(
    model: "AdaptedModel",
    folder: Path,
    tasks: Sequence[str] | None = None,
    about: Mapping[str, Mapping[str, Any]] | None = None,
    backbone: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Generates every task's adapters once and writes them, `hyperformer.json` last.

    Args:
        model: of any method but `finetune`.
        folder: where to.
        tasks: by default all of the model's.
        about: more to say in each task's JSON.
        backbone: what `describe_backbone` said of the backbone, where that is known.

    Returns:
        The files.
    """
    tasks = model.tasks if tasks is None else list(tasks)
    backbone = describe_backbone(model) if backbone is None else dict(backbone)
    files = [folder / NORMS_FILE]
    _write_tensors(files[0], detached(_layer_norms(model)))
    for task in tasks:
        weights = adapter_tensors(model, task)
        described = {
            "format_version": FORMAT_VERSION,
            "task": task,
            "backbone": {key: backbone.get(key) for key in ("name", "revision", "dtype")},
            "non_linearity": model.config.non_linearity,
            "layer_norm_epsilon": LAYER_NORM_EPSILON,
            "adapters": f"{task}.safetensors" if weights else None,
            "parameters": sum(tensor.numel() for tensor in weights.values()),
            **(about or {}).get(task, {}),
        }
        if weights:
            files.append(folder / ADAPTERS_FOLDER / f"{task}.safetensors")
            _write_tensors(files[-1], weights)
        files.append(folder / ADAPTERS_FOLDER / f"{task}.json")
        write_json(files[-1], described)
    adapter = {**model.config.model_dump(), "tasks": tasks}
    description = {"format_version": FORMAT_VERSION, "weights": STATIC, "adapter": adapter, "backbone": backbone}
    files.append(folder / CONFIG_FILE)
    write_json(files[-1], description)
    return files


def adapter_tensors(model: "AdaptedModel", task: str) -> dict[str, Tensor]:
    """A task's adapters as plain tensors by `<stack>.<layer>.<position>.<name>`; none where the method has none."""
    with torch.no_grad():
        return {
            _name(site, name): tensor.cpu().contiguous()
            for site, weights in model.adapter_weights(task).items()
            for name, tensor in weights.named_tensors().items()
        }


def is_static(folder: Path) -> bool:
    """Whether `save` wrote this folder.

    Raises:
        InputError: it holds no trained model.
    """
    return read_description(folder).get("weights") == STATIC


def load(cls: type["AdaptedModel"], folder: Path, backbone: nn.Module | None) -> "AdaptedModel":
    """The inverse of `save`; see `AdaptedModel.from_pretrained`."""
    model = attach_described(cls, folder, backbone, lambda module, config: _load_bank(folder, module, config))
    load_parameters(_layer_norms(model), folder / NORMS_FILE)
    return model


def _load_bank(folder: Path, backbone: nn.Module, config: AdapterConfig) -> FrozenBank | None:
    if not config.has_bank:
        return None
    for task in config.tasks:
        _check_description(folder / ADAPTERS_FOLDER / f"{task}.json", config)
    sites = list(find_sites(backbone))
    shapes = _shapes(backbone, config)
    per_task = [_read_task(folder / ADAPTERS_FOLDER / f"{task}.safetensors", sites, shapes) for task in config.tasks]
    return FrozenBank(
        {
            stack: AdapterWeights.from_named_tensors(
                {
                    name: torch.stack(
                        [
                            torch.stack([tensors[_name(site, name)] for tensors in per_task])
                            for site in sites
                            if site.stack == stack
                        ]
                    ).to(backbone.device)
                    for name in shapes
                }
            )
            for stack in STACKS
        }
    )


def _check_description(file: Path, config: AdapterConfig) -> None:
    """What a program without this package goes by must say the same as hyperformer.json."""
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
        found = {"format_version": described["format_version"], "non_linearity": described["non_linearity"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: missing or damaged ({error})") from error
    for key, expected in (("format_version", FORMAT_VERSION), ("non_linearity", config.non_linearity)):
        if found[key] != expected:
            raise InputError(f"{file}: {key} is {found[key]!r}, not {expected!r}")


def _read_task(file: Path, sites: Sequence[AdapterSite], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    tensors = read_tensors(file)
    expected = {_name(site, name): shape for site in sites for name, shape in shapes.items()}
    if tensors.keys() != expected.keys():
        odd = sorted(tensors.keys() ^ expected.keys())
        raise InputError(f"{file}: not the adapters of this model; {len(odd)} tensors differ, the first is {odd[0]}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise InputError(f"{file}: {name} has shape {list(tensors[name].shape)}, not {list(shape)}")
    return tensors


def _shapes(backbone: nn.Module, config: AdapterConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of one adapter."""
    hidden = backbone.config.d_model
    bottleneck = hidden // config.reduction_factor
    shapes = {
        "down_weight": (bottleneck, hidden), "down_bias": (bottleneck,),
        "up_weight": (hidden, bottleneck), "up_bias": (hidden,),
    }  # fmt: skip
    for norm, wanted in (("pre_norm", config.layer_norm_before), ("post_norm", config.layer_norm_after)):
        if wanted:
            shapes |= {f"{norm}_scale": (hidden,), f"{norm}_shift": (hidden,)}
    return shapes


def _layer_norms(model: "AdaptedModel") -> dict[str, nn.Parameter]:
    """T5's own layer norms, trained or not, by T5's own names."""
    return {name: p for name, p in model.backbone.named_parameters() if name.endswith("layer_norm.weight")}


def _name(site: AdapterSite, name: str) -> str:
    return f"{site.stack}.{site.layer}.{site.position}.{name}"


def _write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    with atomic_path(file) as temporary:
        save_file(dict(tensors), temporary, metadata={"format": "pt"})
