"""Where adapters sit in a T5: after self-attention and after feed-forward, in every layer (paper, Section 2)."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from hyperformer_cli.errors import InputError

Stack = Literal["encoder", "decoder"]
Position = Literal["self_attention", "feed_forward"]
STACKS: tuple[Stack, ...] = get_args(Stack)
POSITIONS: tuple[Position, ...] = get_args(Position)

# The sub-layer whose output an adapter transforms, as the T5 family in transformers names it.
_SUBLAYERS: dict[Position, str] = {"self_attention": "SelfAttention", "feed_forward": "DenseReluDense"}


@dataclass(frozen=True, order=True)
class AdapterSite:
    """One place for an adapter: `stack` and `position` by name, `layer` from 0."""

    stack: Stack
    layer: int
    position: Position


def find_sites(backbone: nn.Module) -> dict[AdapterSite, nn.Module]:
    """Finds the adapted sub-layers of a backbone in its module tree.

    Args:
        backbone: an encoder-decoder of the T5 family (T5, v1.1, Flan, mT5, ByT5, UMT5).

    Returns:
        Every site with its sub-layer, stack by stack, within a stack by position and then by layer: the order in
        which banks stack their tensors, so that sites that share a hypernetwork lie together.

    Raises:
        InputError: if a stack has no layer with such sub-layers.
    """
    sites: dict[AdapterSite, nn.Module] = {}
    for stack in STACKS:
        blocks = getattr(getattr(backbone, stack, None), "block", ())
        for position, attribute in _SUBLAYERS.items():
            found = [
                getattr(module, attribute)
                for block in blocks
                for module in block.modules()
                if attribute in _children(module)
            ]
            if not found or len(found) != len(blocks):
                raise InputError(
                    f"{type(backbone).__name__}: no {attribute} in every layer of the {stack}; "
                    "the backbone must be an encoder-decoder of the T5 family"
                )
            for layer, sublayer in enumerate(found):
                sites[AdapterSite(stack, layer, position)] = sublayer
    return sites


def layer_path(site: AdapterSite) -> str:
    """The layer around a site's sub-layer, as the T5 family in transformers names it: `decoder.block.0.layer.2`."""
    number = {"self_attention": 0, "feed_forward": 1 if site.stack == "encoder" else 2}[site.position]
    return f"{site.stack}.block.{site.layer}.layer.{number}"


def _children(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_children()}
