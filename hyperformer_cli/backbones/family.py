"""What a backbone family says: where things are in its models, and how a batch is laid out for them."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hyperformer_cli.backbones.layouts import Layout, Stack
from hyperformer_cli.errors import InputError

__all__ = ["Family", "Stack"]


def _nothing(_: Any) -> None:
    """A default that can be pickled, as models are that hold their family."""


@dataclass(frozen=True, eq=False)
class Family:
    """Declarations about the models of one family of architectures.

    A path is a chain of attribute names; a number is an index of a list of modules, from the end if negative. A key of
    the configuration may be such a chain too, and hold `{stack}` where it differs between encoder and decoder.

    Attributes:
        label: what messages call the family.
        layout: how a batch is laid out.
        stacks: for each stack, the path of its list of layers in the model.
        sublayers: for each position, the path in a layer of the sub-layer whose output an adapter transforms, before
            dropout and residual.
        layer_norms: endings of the names of the layer norms' parameters.
        depths: for each stack, the key of the configuration for the number of its layers.
        width: the key for the hidden size.
        feed_forward_width: the key for the size between the feed-forward's linear maps; None there is four times the
            hidden size.
        heads, vocabulary: the keys for the number of attention heads and of token embeddings.
        identity: keys of the configuration that determine the shapes of tensors and the arithmetic.
        published: a name on the hub to the configuration of a published checkpoint, or to None.
        merge: what a configuration file states and the values that override it, to the configuration's values.
        after_build: called with a model that was built from its configuration, without pretrained weights.
    """

    label: str
    layout: Layout
    stacks: Mapping[Stack, str]
    sublayers: Mapping[str, str]
    layer_norms: tuple[str, ...]
    depths: Mapping[Stack, str]
    width: str
    feed_forward_width: str
    identity: tuple[str, ...]
    heads: str = "num_attention_heads"
    vocabulary: str = "vocab_size"
    published: Callable[[str], dict[str, Any] | None] = _nothing
    merge: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] = operator.or_
    after_build: Callable[[PreTrainedModel], None] = _nothing

    def layers(self, backbone: nn.Module, stack: Stack) -> list[nn.Module]:
        """The layers of a stack, from the first to the last.

        Raises:
            InputError: the model has no such stack.
        """
        try:
            return list(_follow(backbone, self.stacks[stack]))
        except (AttributeError, TypeError):
            raise InputError(
                f"{type(backbone).__name__}: no layers at {self.stacks[stack]}, where the {self.label} family has them"
            ) from None

    def sublayer(self, layer: nn.Module, position: str) -> nn.Module:
        """The sub-layer of a layer whose output an adapter at `position` transforms.

        Raises:
            InputError: the layer has none there.
        """
        try:
            return _follow(layer, self.sublayers[position])
        except (AttributeError, IndexError, TypeError):
            raise InputError(
                f"no {self.sublayers[position]} in every layer, where the {self.label} family has its {position}"
            ) from None

    def linear_maps(self, layer: nn.Module) -> dict[str, nn.Module]:
        """The linear maps of a layer (`nn.Linear`, or GPT-2's `Conv1D`) by path, without indices: `SelfAttention.q`."""
        return {
            ".".join(part for part in path.removeprefix("layer.").split(".") if not part.isdigit()): module
            for path, module in layer.named_modules()
            if isinstance(module, nn.Linear | Conv1D)
        }

    def hidden_size(self, config: PreTrainedConfig, stack: Stack) -> int:
        return _value(config, self.width, stack)

    def feed_forward_size(self, config: PreTrainedConfig, stack: Stack) -> int:
        """The size between the feed-forward's linear maps."""
        return _value(config, self.feed_forward_width, stack) or 4 * self.hidden_size(config, stack)

    def head_count(self, config: PreTrainedConfig, stack: Stack) -> int:
        return _value(config, self.heads, stack)

    def vocabulary_size(self, config: PreTrainedConfig) -> int:
        return _value(config, self.vocabulary)

    def depth(self, config: PreTrainedConfig, stack: Stack) -> int:
        """The number of layers of a stack."""
        return _value(config, self.depths[stack], stack)

    def identity_values(self, config: PreTrainedConfig) -> list[Any]:
        """What `identity` names; None where a configuration has no such key."""
        return [_value(config, key, default=None) for key in self.identity]

    def is_layer_norm(self, parameter: str) -> bool:
        """Whether a parameter, by name, belongs to one of the backbone's layer norms."""
        return parameter.endswith(self.layer_norms)


def _follow(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = module[int(part)] if part.removeprefix("-").isdigit() else getattr(module, part)
    return module


_REQUIRED = object()


def _value(config: Any, key: str, stack: str = "", default: Any = _REQUIRED) -> Any:
    for part in key.format(stack=stack).split("."):
        config = getattr(config, part) if default is _REQUIRED else getattr(config, part, default)
    return config
