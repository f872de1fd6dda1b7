"""The paper's adapter (Section 2.1): `LN(U(activation(D(x)))) + x` on a sub-layer's output.

It sits after self-attention and after the feed-forward in every layer of every stack, before dropout and residual.

As in the paper, what a new adapter adds is not zero: the layer norm brings the output of small random weights to unit
variance, times a scale that starts at one if it is stored, and at about 0.01 sqrt(t) if a head generates it. With
`init: zero` the scale starts at zero. The up-projection cannot: the slope of the layer norm at zero is 1 / sqrt(1e-5).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from hyperformer_cli.adapters.forms.form import TensorSpec, sublayer_sites
from hyperformer_cli.adapters.forms.recomputation import recomputed
from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.backbones.family import Family
from hyperformer_cli.config.forms import BottleneckOptions
from hyperformer_cli.errors import InputError

LAYER_NORM_EPSILON = 1e-5  # torch's default, which the reference's adapters have

Norm = tuple[Tensor, Tensor]  # scale, shift


@dataclass(frozen=True)
class BottleneckWeights:
    """The weights of a bottleneck adapter.

    With hidden size h and bottleneck d: `down_weight` (d, h), `down_bias` (d,), `up_weight` (h, d), `up_bias` (h,), and
    the norms `(scale, shift)`, each (h,), or None. A leading dimension `batch` is the same in all of them.
    """

    down_weight: Tensor
    down_bias: Tensor
    up_weight: Tensor
    up_bias: Tensor
    pre_norm: Norm | None = None
    post_norm: Norm | None = None

    def named_tensors(self) -> dict[str, Tensor]:
        """Every tensor under a flat name: `down_weight`, ..., `post_norm_scale`, `post_norm_shift`."""
        named = {name: getattr(self, name) for name in ("down_weight", "down_bias", "up_weight", "up_bias")}
        for norm in ("pre_norm", "post_norm"):
            if getattr(self, norm) is not None:
                named[f"{norm}_scale"], named[f"{norm}_shift"] = getattr(self, norm)
        return named

    @classmethod
    def from_named_tensors(cls, named: Mapping[str, Tensor]) -> "BottleneckWeights":
        """The inverse of `named_tensors`."""
        pre, post = (
            (named[f"{norm}_scale"], named[f"{norm}_shift"]) if f"{norm}_scale" in named else None
            for norm in ("pre_norm", "post_norm")
        )
        return cls(named["down_weight"], named["down_bias"], named["up_weight"], named["up_bias"], pre, post)


class Bottleneck:
    """The form, with its options."""

    weights = BottleneckWeights

    def __init__(self, options: BottleneckOptions):
        self.options = options
        self._activation = ACT2FN[options.non_linearity]

    def find_sites(self, backbone: PreTrainedModel, family: Family) -> dict[AdapterSite, nn.Module]:
        return sublayer_sites(backbone, family)

    def tensors(self, site: AdapterSite) -> dict[str, TensorSpec]:
        hidden, bottleneck = site.output_width, site.output_width // self.options.reduction_factor
        if bottleneck < 1:
            raise InputError(f"reduction_factor {self.options.reduction_factor} leaves no bottleneck of {hidden} units")
        specs = {
            "down_weight": TensorSpec((bottleneck, hidden)),
            "down_bias": TensorSpec((bottleneck,), torch.zeros),
            "up_weight": TensorSpec((hidden, bottleneck)),
            "up_bias": TensorSpec((hidden,), torch.zeros),
        }
        from_zero: dict[str, Any] = {"start": torch.zeros, "head_std": 0.0} if self.options.init == "zero" else {}
        if not self.options.layer_norm_after:
            specs |= {name: replace(specs[name], **from_zero) for name in ("up_weight", "up_bias")}
        norms = {"pre_norm": self.options.layer_norm_before, "post_norm": self.options.layer_norm_after}
        for norm in (name for name, wanted in norms.items() if wanted):
            for part, start in (("scale", torch.ones), ("shift", torch.zeros)):
                spec = TensorSpec(
                    (hidden,),
                    start,
                    per_task=False,
                    generated=self.options.conditional_layer_norm,
                    parameter=f"{norm}.{part}",
                )
                specs[f"{norm}_{part}"] = replace(spec, **from_zero) if norm == "post_norm" else spec
        return specs

    def arithmetic(self) -> dict[str, Any]:
        return {"non_linearity": self.options.non_linearity, "layer_norm_epsilon": LAYER_NORM_EPSILON}

    def head_group(self, site: AdapterSite) -> str:
        return ""  # one hypernetwork generates the adapters of both positions

    def apply(self, weights: BottleneckWeights, inputs: Tensor | None, output: Tensor, training: bool) -> Tensor:
        """`LN(U(activation(D(LN'(output))))) + output`."""
        inner = output if weights.pre_norm is None else _layer_norm(output, weights.pre_norm)
        inner = _linear(inner, weights.down_weight, weights.down_bias)
        # What follows is as wide as the backbone and cheap to compute from the bottleneck: it is not kept for backward.
        inner = recomputed(self._up, inner, weights.up_weight, weights.up_bias, *(weights.post_norm or ()))
        return output + inner.to(output.dtype)

    def _up(self, inner: Tensor, weight: Tensor, bias: Tensor, *norm: Tensor) -> Tensor:
        """From the bottleneck before its activation, (batch, length, d), to what is added, (batch, length, h)."""
        inner = _linear(self._activation(inner), weight, bias)
        return _layer_norm(inner, (norm[0], norm[1])) if norm else inner


def _linear(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if weight.dim() == 2:
        return F.linear(hidden, weight, bias)
    return torch.baddbmm(bias.unsqueeze(1), hidden, weight.transpose(1, 2))


def _layer_norm(hidden: Tensor, norm: Norm) -> Tensor:
    scale, shift = norm
    if scale.dim() == 1:
        return F.layer_norm(hidden, scale.shape, scale, shift, LAYER_NORM_EPSILON)
    normed = F.layer_norm(hidden, scale.shape[-1:], eps=LAYER_NORM_EPSILON)
    return normed * scale.unsqueeze(1) + shift.unsqueeze(1)
