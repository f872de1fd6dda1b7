"""LoRA: Low-Rank Adaptation of Large Language Models (Hu et al., ICLR 2022, https://arxiv.org/abs/2106.09685).

`W x + (alpha / rank) B A dropout(x)` on linear maps of the layers. Stored, A starts as in PEFT and B at zero.
Generated, the heads of A and B start with weight zero, A's bias as a stored A and B's at zero (bias-HyperInit of
Text-to-LoRA, https://arxiv.org/abs/2506.06105). Either way training starts at the backbone itself.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from hyperformer_cli.adapters.forms.form import TensorSpec
from hyperformer_cli.adapters.linear_maps import select_linear_maps
from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.backbones.family import Family
from hyperformer_cli.config.forms import LoraOptions
from hyperformer_cli.errors import InputError


@dataclass(frozen=True)
class LoraWeights:
    """`lora_A` (rank, input width) and `lora_B` (output width, rank), or both with a leading dimension `batch`."""

    lora_A: Tensor
    lora_B: Tensor

    def named_tensors(self) -> dict[str, Tensor]:
        """Both, under PEFT's names."""
        return {"lora_A": self.lora_A, "lora_B": self.lora_B}

    @classmethod
    def from_named_tensors(cls, named: Mapping[str, Tensor]) -> "LoraWeights":
        """The inverse of `named_tensors`."""
        return cls(named["lora_A"], named["lora_B"])


class Lora:
    """The form, with its options."""

    weights = LoraWeights

    def __init__(self, options: LoraOptions):
        self.options = options
        self.scaling = options.alpha / options.rank

    def find_sites(self, backbone: PreTrainedModel, family: Family) -> dict[AdapterSite, nn.Module]:
        selected = select_linear_maps(backbone, family, self.options.target_modules)
        return {one.site: one.module for one in selected}

    def tensors(self, site: AdapterSite) -> dict[str, TensorSpec]:
        rank, inputs, outputs = self.options.rank, site.input_width, site.output_width
        if rank > min(inputs, outputs):
            raise InputError(
                f"rank {rank} is above the smaller width of {site.path} ({outputs} x {inputs}), beyond which it adds "
                "nothing"
            )
        start = partial(_uniform, 1 / math.sqrt(inputs))
        return {
            "lora_A": TensorSpec((rank, inputs), start, head_std=0.0, head_bias=start),
            "lora_B": TensorSpec((outputs, rank), torch.zeros, head_std=0.0),
        }

    def arithmetic(self) -> dict[str, Any]:
        return {"form": "lora", "rank": self.options.rank, "alpha": self.options.alpha}

    def head_group(self, site: AdapterSite) -> str:
        return site.position  # one pair of heads per target module, as in Text-to-LoRA

    def apply(self, weights: LoraWeights, inputs: Tensor | None, output: Tensor, training: bool) -> Tensor:
        """`output + (alpha / rank) B A dropout(inputs)`."""
        if inputs is None:
            raise RuntimeError("a linear map was not given its input by position")
        inner = F.dropout(inputs, self.options.dropout, training) if self.options.dropout else inputs
        # Scaled between A and B, where vectors are shortest.
        change = _linear(_linear(inner, weights.lora_A) * self.scaling, weights.lora_B)
        return output + change.to(output.dtype)

    def weight_change(self, weights: LoraWeights) -> Tensor:
        """(output width, input width): what one adapter adds to the weight of its map."""
        return self.scaling * (weights.lora_B @ weights.lora_A)


def _uniform(bound: float, shape: tuple[int, ...]) -> Tensor:
    """Drawn from U(-bound, bound); with 1 / sqrt(inputs), PEFT's Kaiming start of A."""
    return torch.empty(shape).uniform_(-bound, bound)


def _linear(hidden: Tensor, weight: Tensor) -> Tensor:
    if weight.dim() == 2:
        return F.linear(hidden, weight)
    if hidden.dim() != 3:
        raise InputError("a linear map that reads the rows of a batch as one cannot have an adapter per row")
    return torch.bmm(hidden, weight.transpose(1, 2))
