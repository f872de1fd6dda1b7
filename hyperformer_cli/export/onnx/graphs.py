"""The two ONNX graphs of a T5 with bottleneck adapters as inputs: traced once, whatever the number of tasks.

The encoder maps token ids to every decoder layer's cross-attention keys and values, which depend on the input alone.
The decoder maps new tokens, with the keys and values of those before, to logits and to the keys and values up to here.
Before the first token there are none, so one graph serves all steps and a whole target at once.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from hyperformer_cli.adapters.forms.bottleneck import BottleneckWeights
from hyperformer_cli.adapters.forms.form import AdapterWeights
from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.backbones.family import Stack

if TYPE_CHECKING:
    import onnx_ir

# Sizes that the tracer must not mistake for constants: none is 0 or 1, no two are equal.
_BATCH, _SOURCE, _NEW, _PAST = 2, 7, 4, 3


def adapter_tensors(model: AdaptedModel, task: str, stack: Stack) -> dict[str, Tensor]:
    """A task's adapters in one stack, named `adapter.<layer>.<position>.<tensor>`; empty without adapters."""
    return {
        f"adapter.{site.layer}.{site.position}.{name}": tensor.detach()
        for site, weights in model.adapter_weights(task).items()
        if site.stack == stack
        for name, tensor in weights.named_tensors().items()
    }


def _cache_names(kind: str, layers: int) -> list[str]:
    """`<kind>.<layer>.key` and `<kind>.<layer>.value` for every decoder layer; kind is cross, past or present."""
    return [f"{kind}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]


def trace(model: AdaptedModel, task: str) -> dict[Stack, "onnx_ir.Model"]:
    """Traces the encoder and the decoder; the adapters are inputs, named as in `adapter_tensors`.

    Args:
        model: in evaluation mode, in float32, on the CPU.
        task: any of its tasks; only the shapes of its adapters matter.
    """
    config = model.backbone.config
    layers = config.num_decoder_layers
    batch, source, new, past = (torch.export.Dim(name) for name in ("batch", "source", "new", "past"))
    mask = torch.ones(_BATCH, _SOURCE, dtype=torch.long)
    keys = [torch.zeros(_BATCH, config.num_heads, length, config.d_kv) for length in (_SOURCE, _PAST)]
    cross, seen = ([tensor.clone() for _ in range(2 * layers)] for tensor in keys)
    cross_names = _cache_names("cross", layers)
    adapters = {stack: adapter_tensors(model, task, stack) for stack in ("encoder", "decoder")}
    fixed = {stack: dict.fromkeys(adapters[stack]) for stack in adapters}
    with _eager_attention(model.backbone):
        encoder = _export(
            _Encoder(model),
            (adapters["encoder"], torch.ones_like(mask), mask),
            [*adapters["encoder"], "input_ids", "attention_mask"],
            cross_names,
            (fixed["encoder"], {0: batch, 1: source}, {0: batch, 1: source}),
        )
        decoder = _export(
            _Decoder(model),
            (adapters["decoder"], torch.ones(_BATCH, _NEW, dtype=torch.long), mask, cross, seen),
            [*adapters["decoder"], "decoder_input_ids", "attention_mask", *cross_names, *_cache_names("past", layers)],
            ["logits", *_cache_names("present", layers)],
            (
                fixed["decoder"], {0: batch, 1: new}, {0: batch, 1: source}, [{0: batch, 2: source}] * len(cross),
                [{0: batch, 2: past}] * len(seen),
            ),
        )  # fmt: skip
    return {"encoder": encoder, "decoder": decoder}


class _Stack(nn.Module):
    def __init__(self, model: AdaptedModel):
        super().__init__()
        self.backbone = model.backbone
        self._model = [model]  # a list keeps it from being a sub-module: its bank is no part of the graph


class _Encoder(_Stack):
    def forward(self, adapters: dict[str, Tensor], input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        backbone, config = self.backbone, self.backbone.config
        with self._model[0].using(_by_site(adapters, "encoder")):
            encoded = backbone.get_encoder()(input_ids=input_ids, attention_mask=_padding_mask(attention_mask))
        attentions = [f"decoder.block.{layer}.layer.1.EncDecAttention" for layer in range(config.num_decoder_layers)]
        projected = [
            backbone.get_submodule(f"{attention}.{part}")(encoded.last_hidden_state)
            for attention in attentions
            for part in ("k", "v")
        ]
        return [states.unflatten(-1, (config.num_heads, config.d_kv)).transpose(1, 2) for states in projected]


class _Decoder(_Stack):
    def forward(
        self,
        adapters: dict[str, Tensor],
        decoder_input_ids: Tensor,
        attention_mask: Tensor,
        cross: list[Tensor],
        past: list[Tensor],
    ) -> list[Tensor]:
        cache = EncoderDecoderCache(DynamicCache(_pairs(past)), DynamicCache(_pairs(cross)))
        with self._model[0].using(_by_site(adapters, "decoder")):
            logits = self.backbone(
                decoder_input_ids=decoder_input_ids,
                decoder_attention_mask=_causal_mask(decoder_input_ids, past[0].shape[2]),
                encoder_outputs=(cross[0][:, 0],),  # only its length is read: keys and values are cached
                attention_mask=_padding_mask(attention_mask),
                past_key_values=cache,
                use_cache=True,
            ).logits
        layers = cache.self_attention_cache.layers
        return [logits, *(getattr(layer, part) for layer in layers for part in ("keys", "values"))]


def _padding_mask(attention_mask: Tensor) -> Tensor:
    """(batch, 1, 1, length), added to attention scores. A mask of four dimensions is taken as it is."""
    return (1.0 - attention_mask[:, None, None].float()) * torch.finfo(torch.float32).min


def _causal_mask(new_ids: Tensor, seen: int) -> Tensor:
    """(batch, 1, new, seen + new), added to attention scores."""
    batch, new = new_ids.shape
    later = torch.arange(seen + new)[None] > torch.arange(seen, seen + new)[:, None]
    return (later.float() * torch.finfo(torch.float32).min).expand(batch, 1, -1, -1)


def _pairs(tensors: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(tensors[::2], tensors[1::2], strict=True))


def _by_site(adapters: Mapping[str, Tensor], stack: Stack) -> dict[AdapterSite, AdapterWeights]:
    """The inverse of `adapter_tensors`."""
    named: dict[AdapterSite, dict[str, Tensor]] = {}
    for full, tensor in adapters.items():
        _, layer, position, name = full.split(".")
        named.setdefault(AdapterSite(stack, int(layer), position), {})[name] = tensor
    return {site: BottleneckWeights.from_named_tensors(tensors) for site, tensors in named.items()}


@contextmanager
def _eager_attention(backbone: PreTrainedModel) -> Iterator[None]:
    """Attention as plain products, which every runtime has."""
    before = backbone.config._attn_implementation
    backbone.set_attn_implementation("eager")
    try:
        yield
    finally:
        backbone.set_attn_implementation(before)


def _export(
    module: nn.Module, inputs: tuple, input_names: list[str], output_names: list[str], dynamic_shapes: Any
) -> "onnx_ir.Model":
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of a torchvision that is not installed
    with warnings.catch_warnings(action="ignore"), torch.no_grad():  # deprecations within torch, axes of the same name
        program = torch.onnx.export(
            module.eval(),
            inputs,
            input_names=input_names,
            output_names=output_names,
            dynamic_shapes=dynamic_shapes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None only where a file is named
    ClearMetadataAndDocStringPass()(program.model)  # paths of this machine, among others
    return program.model
