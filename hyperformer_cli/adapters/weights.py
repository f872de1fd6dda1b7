"""The adapter itself: its weights and the one function that applies them (paper, Section 2.1)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LAYER_NORM_EPSILON = 1e-5  # torch's default, which the reference's adapters have

Activation = Callable[[Tensor], Tensor]
Norm = tuple[Tensor, Tensor]  # scale, shift


@dataclass(frozen=True)
class AdapterWeights:
    """The weights of an adapter, or of many in one tensor each.

    For one adapter, with hidden size h and bottleneck d: `down_weight` (d, h), `down_bias` (d,), `up_weight` (h, d),
    `up_bias` (h,), and the norms `(scale, shift)`, each (h,), or None. Leading dimensions (sites, tasks, rows) are
    the same in all of them.
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
    def from_named_tensors(cls, named: dict[str, Tensor]) -> "AdapterWeights":
        """The inverse of `named_tensors`."""
        norms = {
            norm: (named[f"{norm}_scale"], named[f"{norm}_shift"])
            for norm in ("pre_norm", "post_norm")
            if f"{norm}_scale" in named
        }
        linear = {name: tensor for name, tensor in named.items() if "norm" not in name}
        return cls(**linear, **norms)

    def map(self, function: Callable[[Tensor], Tensor]) -> "AdapterWeights":
        """The same with `function` applied to every tensor."""
        return self.from_named_tensors({name: function(tensor) for name, tensor in self.named_tensors().items()})

    def unbind(self) -> list["AdapterWeights"]:
        """Splits along the first dimension: one operation a tensor, whose backward is one `stack`."""
        parts = {name: tensor.unbind() for name, tensor in self.named_tensors().items()}
        return [
            self.from_named_tensors({name: tensors[i] for name, tensors in parts.items()})
            for i in range(len(self.down_weight))
        ]


def apply_adapter(hidden: Tensor, weights: AdapterWeights, activation: Activation) -> Tensor:
    """`LN(U(activation(D(LN'(hidden))))) + hidden`, in the dtype of `hidden`.

    Args:
        hidden: (batch, length, h), a sub-layer's output before dropout and residual.
        weights: one adapter for all rows, or one a row with leading dimension `batch`.
        activation: the bottleneck's non-linearity.

    Returns:
        (batch, length, h).
    """
    inner = hidden if weights.pre_norm is None else _layer_norm(hidden, weights.pre_norm)
    inner = activation(_linear(inner, weights.down_weight, weights.down_bias))
    inner = _linear(inner, weights.up_weight, weights.up_bias)
    if weights.post_norm is not None:
        inner = _layer_norm(inner, weights.post_norm)
    return hidden + inner.to(hidden.dtype)


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
