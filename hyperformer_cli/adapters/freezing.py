"""What of a backbone is trained, and in which types its parameters are kept."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from hyperformer_cli.errors import InputError

_ORDINARY = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def freeze(backbone: nn.Module, trained: Collection[str] | None, frozen_dtype: torch.dtype) -> None:
    """Freezes all but some parameters. Trained ones become float32, frozen ones `frozen_dtype`, quantised ones stay.

    Args:
        backbone: changed in place.
        trained: names of its parameters; None trains all of them.
        frozen_dtype: of the frozen ones.

    Raises:
        InputError: one that is to be trained is quantised; nothing has been changed.
    """
    chosen = {name for name, _ in backbone.named_parameters()} if trained is None else set(trained)
    for name, parameter in backbone.named_parameters():
        if name in chosen and _is_quantized(parameter):
            raise InputError(f"{name} is quantised and cannot be trained; use a method that leaves it frozen")
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name in chosen)
        if not _is_quantized(parameter):
            parameter.data = parameter.data.to(torch.float32 if name in chosen else frozen_dtype)


def has_quantized(backbone: nn.Module) -> bool:
    """Whether any parameter is quantised."""
    return any(map(_is_quantized, backbone.parameters()))


def _is_quantized(parameter: nn.Parameter) -> bool:
    """Libraries keep quantised weights in numbers, tensors or parameters of a kind of their own."""
    is_plain = type(parameter) is nn.Parameter and type(parameter.data) is Tensor
    return not is_plain or parameter.dtype not in _ORDINARY
