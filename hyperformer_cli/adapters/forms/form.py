"""The interface of an adapter form.

A form says what an adapter is: where it sits, the tensors it has there with their shapes, how they start, and how they
act on what a module computes. Banks and hypernetworks know no form: they store or generate the tensors it lists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.backbones.family import Family

INITIAL_STD = 0.01  # of every linear's weight, stored or generating (paper, Section 3)

Start = Callable[[tuple[int, ...]], Tensor]  # a shape to a tensor of it


def small_normal(shape: tuple[int, ...]) -> Tensor:
    """Drawn from N(0, 0.01^2)."""
    return torch.randn(shape) * INITIAL_STD


def sublayer_sites(backbone: PreTrainedModel, family: Family) -> dict[AdapterSite, nn.Module]:
    """The outputs of self-attention and of the feed-forward, in every layer of every stack (paper, Section 2)."""
    widths = {stack: family.hidden_size(backbone.config, stack) for stack in family.stacks}
    return {
        AdapterSite(stack, number, position, widths[stack], widths[stack]): family.sublayer(layer, position)
        for stack in family.stacks
        for position in family.sublayers
        for number, layer in enumerate(family.layers(backbone, stack))
    }


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of an adapter.

    Attributes:
        shape: of one adapter's.
        start: how stored ones start; it is called with leading dimensions before `shape`.
        per_task: whether every task has its own where adapters are stored; False is one per site for all tasks.
        generated: whether hypernetworks generate it; False stores it beside them, one per site for all tasks.
        head_std: standard deviation of the weight of a head that generates it, at the start.
        head_bias: how that head's bias starts.
        parameter: the name of its parameters within a stack's module; the tensor's name by default.
    """

    shape: tuple[int, ...]
    start: Start = small_normal
    per_task: bool = True
    generated: bool = True
    head_std: float = INITIAL_STD
    head_bias: Start = torch.zeros
    parameter: str | None = None


@runtime_checkable
class AdapterWeights(Protocol):
    """The weights of one adapter, or of one per row with a leading dimension `batch`; a frozen dataclass."""

    def named_tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name in `Form.tensors`."""

    @classmethod
    def from_named_tensors(cls, named: Mapping[str, Tensor]) -> Self:
        """The inverse of `named_tensors`."""


class Form(Protocol):
    """An adapter form with its options; see the module's text."""

    weights: type[Any]  # the class of its `AdapterWeights`

    def find_sites(self, backbone: PreTrainedModel, family: Family) -> dict[AdapterSite, nn.Module]:
        """The sites in a backbone with the modules that are adapted, stack by stack, within a stack by position and
        then by layer: sites that share a hypernetwork lie together.

        Raises:
            InputError: the backbone lacks what the form adapts.
        """

    def tensors(self, site: AdapterSite) -> dict[str, TensorSpec]:
        """The tensors of an adapter at a site, by name, in the order in which they are drawn.

        Raises:
            InputError: the options do not fit the site's widths.
        """

    def arithmetic(self) -> dict[str, Any]:
        """What a program that applies the tensors must know besides them; written beside static exports."""

    def head_group(self, site: AdapterSite) -> str:
        """Sites with different groups never share the heads of a hypernetwork; "" where all may."""

    def apply(self, weights: Any, inputs: Tensor | None, output: Tensor, training: bool) -> Tensor:
        """What the adapted module returns in place of its output.

        Args:
            weights: of `self.weights`: one adapter for all rows, or one per row with a leading dimension `batch`.
            inputs: (batch, length, input width), what the module read; None where it was not given by position.
            output: (batch, length, output width), what it computed.
            training: whether the model is in training mode.

        Returns:
            (batch, length, output width), in the dtype of `output`.
        """
