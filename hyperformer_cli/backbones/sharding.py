"""A large frozen backbone divided among processes by torch's FSDP2: each holds a part, and gathers a layer to use it.

What is trained is left out: it is small, and every process has all of it. Collectives run in every forward pass, so
that all processes must make the same number of them.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from transformers import PreTrainedConfig

from hyperformer_cli.backbones.configuration import build_backbone
from hyperformer_cli.backbones.families import family_of
from hyperformer_cli.backbones.family import Family

_ENCODE = "_encode_sharded"
_LAYERS_AT_ONCE = 2  # one computes while the next is gathered


def shard(backbone: Any, family: Family, device: torch.device, processes: int) -> None:
    """Divides the frozen parameters among all processes and moves them to the device, layer by layer.

    Args:
        backbone: the same on every process, on any device; trained parameters are left where they are.
        family: the backbone's.
        device: the process's own.
        processes: their number.
    """
    mesh, trained = init_device_mesh(device.type, (processes,)), {p for p in backbone.parameters() if p.requires_grad}
    divide = partial(fully_shard, mesh=mesh, ignored_params=trained)
    for stack in family.stacks:
        for layer in family.layers(backbone, stack):
            divide(layer)
    divide(backbone)
    setattr(backbone, _ENCODE, partial(_encode, backbone))
    for method in ("generate", _ENCODE):  # these do not begin in the backbone's own `forward`
        register_fsdp_forward_method(backbone, method)


def is_sharded(backbone: nn.Module) -> bool:
    """Whether `shard` has divided it."""
    return isinstance(backbone, FSDPModule)


def encoder_output(backbone: Any, **inputs: Any) -> Any:
    """What the encoder returns for its arguments."""
    return getattr(backbone, _ENCODE)(**inputs) if is_sharded(backbone) else _encode(backbone, **inputs)


def _encode(backbone: Any, **inputs: Any) -> Any:
    return backbone.get_encoder()(**inputs)


def held_fraction(config: PreTrainedConfig, processes: int) -> float:
    """How much of a sharded backbone a process holds at most: its part, what is outside of layers, and two layers.

    Embeddings and output layer are gathered for the whole step.
    """
    family = family_of(config)
    with torch.device("meta"):
        backbone = build_backbone(config)
        layers = [layer for stack in family.stacks for layer in family.layers(backbone, stack)]
    sizes, total = [_size(layer.parameters()) for layer in layers], _size(backbone.parameters())
    return min(1.0, 1 / processes + (total - sum(sizes) + _LAYERS_AT_ONCE * max(sizes)) / total)


def _size(parameters: Any) -> int:
    return sum(parameter.numel() for parameter in parameters)
