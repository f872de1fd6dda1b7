"""Adapters merged into the weights of a copy of the backbone: a plain transformers model at no cost."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hyperformer_cli.adapters.attached import AttachedAdapters
from hyperformer_cli.adapters.forms import AdapterWeights
from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.errors import InputError


@runtime_checkable
class Mergeable(Protocol):
    """A form whose adapters are linear in what the adapted map reads."""

    def weight_change(self, weights: Any) -> Tensor:
        """(output width, input width): what one adapter adds to the weight of its map."""


def bare_copy(backbone: PreTrainedModel) -> PreTrainedModel:
    """A copy of an adapted backbone without adapters; `backbone` is not changed."""
    hooks = [hook for module in backbone.modules() for hook in _hooks(module).values()]
    attached = {getattr(hook.func, "__self__") for hook in hooks}  # noqa: B009 (a Callable has none, for mypy)
    # What the hooks refer to, all adapters among it, is not copied with them.
    twin = copy.deepcopy(backbone, {id(adapters): adapters for adapters in attached})
    for module in twin.modules():
        for number in _hooks(module):
            del module._forward_hooks[number]
    return twin.requires_grad_(False)


def _hooks(module: nn.Module) -> dict[int, partial]:
    """The hooks of adapters on a module, by their number."""
    return {
        number: hook
        for number, hook in module._forward_hooks.items()
        if isinstance(hook, partial) and isinstance(getattr(hook.func, "__self__", None), AttachedAdapters)
    }


@torch.no_grad()
def merge(
    form: Mergeable, modules: Mapping[AdapterSite, nn.Module], weights: Mapping[AdapterSite, AdapterWeights]
) -> float:
    """Adds every adapter to the weight of its linear map, in float32, and rounds to the weight's type.

    Returns:
        The largest rounding error of a merged weight; 0 in float32.

    Raises:
        InputError: a weight is quantised.
    """
    largest = 0.0
    for site, module in modules.items():
        weight = cast(Tensor, module.weight)
        if type(module) not in (nn.Linear, Conv1D) or not weight.is_floating_point():
            raise InputError(
                f"{site.path}: a {type(module).__name__} of {weight.dtype}; adapters cannot be merged into a "
                "quantised backbone without changing it. Load it in float32 or bfloat16, or export to PEFT"
            )
    for site, module in modules.items():
        weight = cast(Tensor, module.weight)
        change = form.weight_change(weights[site]).to(weight.device)
        merged = weight.float() + (change.T if isinstance(module, Conv1D) else change)
        weight.copy_(merged)
        largest = max(largest, float((weight.float() - merged).abs().max()))
    return largest
