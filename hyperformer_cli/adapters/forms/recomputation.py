"""Computations whose inputs alone are kept for the backward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def recomputed(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """`function(*tensors)`, computed again when its gradient is; nothing in between is kept.

    For what is cheap to compute and large to keep. It must be a function of the tensors alone and draw no random
    numbers. A compiled model takes the function as it is, for the compiler decides what to keep; so does one on the
    meta device, which keeps nothing.
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling() and not tensors[0].is_meta:
        return _Recomputed.apply(function, *tensors)
    return function(*tensors)


class _Recomputed(torch.autograd.Function):
    """Less than `torch.utils.checkpoint` does, in less time: no state of random generators, no hooks."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        device = tensors[0].device.type
        ctx.function = function
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        ctx.save_for_backward(*tensors)
        return function(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[1:]
        tensors = [
            tensor.detach().requires_grad_(needed) for tensor, needed in zip(ctx.saved_tensors, wanted, strict=True)
        ]
        with torch.enable_grad(), torch.autocast(*ctx.autocast):
            output = ctx.function(*tensors)
        gradients = iter(torch.autograd.grad(output, [tensor for tensor in tensors if tensor.requires_grad], gradient))
        return None, *(next(gradients) if needed else None for needed in wanted)
