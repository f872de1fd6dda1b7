"""Every covered architecture: against hand-written layers, rows alone, a slow loss, gradients, closed counts."""

from collections.abc import Callable, Sequence
from functools import partial
from types import MethodType
from typing import Any

import pytest
import torch
from tiny_backbones import DECODER_ONLY, ENCODER_DECODER, adapted, tiny_backbone, token_ids
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from hyperformer_cli import AdaptedModel, AdapterSite, AdapterWeights

ARCHITECTURES = [*DECODER_ONLY, *ENCODER_DECODER]
TASK_IDS = [0, 2, 1, 0]
PROMPTS = token_ids(9, 3, 6, 1)
TARGETS = token_ids(2, 3, 1, 2, seed=3)

Adapter = Callable[[Tensor], Tensor]


def bottleneck(weights: AdapterWeights, output: Tensor) -> Tensor:
    """The paper's adapter, written out."""
    w = weights.named_tensors()
    inner = F.gelu(output @ w["down_weight"].T + w["down_bias"], approximate="tanh") @ w["up_weight"].T + w["up_bias"]
    centred = inner - inner.mean(-1, keepdim=True)
    normed = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    return normed * w["post_norm_scale"] + w["post_norm_shift"] + output


# The layers of transformers, written out again with an adapter behind each sub-layer. `attend` and `feed` are the two
# adapters of the layer; what a layer calls besides is its own.


def pre_norm(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    hidden = hidden + attend(layer.self_attn(hidden_states=layer.input_layernorm(hidden), **kwargs)[0])
    return hidden + feed(first(layer.mlp(layer.post_attention_layernorm(hidden))))


def post_norm(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    hidden = hidden + layer.post_attention_layernorm(attend(layer.self_attn(hidden_states=hidden, **kwargs)[0]))
    return hidden + layer.post_feedforward_layernorm(feed(layer.mlp(hidden)))


def sandwich(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    attended = attend(layer.self_attn(hidden_states=layer.input_layernorm(hidden), **kwargs)[0])
    hidden = hidden + layer.post_attention_layernorm(attended)
    return hidden + layer.post_feedforward_layernorm(feed(layer.mlp(layer.pre_feedforward_layernorm(hidden))))


def glm4(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    attended = attend(layer.self_attn(hidden_states=layer.input_layernorm(hidden), **kwargs)[0])
    hidden = hidden + layer.post_self_attn_layernorm(attended)
    return hidden + layer.post_mlp_layernorm(feed(layer.mlp(layer.post_attention_layernorm(hidden))))


def apertus(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    hidden = hidden + attend(layer.self_attn(hidden_states=layer.attention_layernorm(hidden), **kwargs)[0])
    return hidden + feed(layer.mlp(layer.feedforward_layernorm(hidden)))


def parallel(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    normed = layer.input_layernorm(hidden)
    return hidden + attend(layer.self_attn(hidden_states=normed, **kwargs)[0]) + feed(layer.mlp(normed))


def granite(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    scale = 0.5
    hidden = hidden + scale * attend(layer.self_attn(hidden_states=layer.input_layernorm(hidden), **kwargs)[0])
    return hidden + scale * feed(layer.mlp(layer.post_attention_layernorm(hidden)))


def gpt2(layer: Any, hidden: Tensor, *positional: Any, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    kwargs |= dict(zip(("past_key_values", "attention_mask"), positional[:2], strict=False))
    kwargs.pop("encoder_hidden_states", None)
    hidden = hidden + attend(layer.attn(layer.ln_1(hidden), **kwargs)[0])
    return hidden + feed(layer.mlp(layer.ln_2(hidden)))


def gpt_neox(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    attended = attend(layer.attention(layer.input_layernorm(hidden), **kwargs)[0])
    return hidden + attended + feed(layer.mlp(layer.post_attention_layernorm(hidden)))  # use_parallel_residual


def bart(layer: Any, hidden: Tensor, *positional: Any, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    """Encoder and decoder layers, whose norms come last."""
    kwargs |= dict(zip(("attention_mask", "encoder_hidden_states", "encoder_attention_mask"), positional, strict=False))
    encoded, mask = kwargs.pop("encoder_hidden_states", None), kwargs.pop("encoder_attention_mask", None)
    kwargs.pop("use_cache", None)
    hidden = layer.self_attn_layer_norm(hidden + attend(layer.self_attn(hidden, **kwargs)[0]))
    if encoded is not None:
        crossed = layer.encoder_attn(hidden, key_value_states=encoded, attention_mask=mask)[0]
        hidden = layer.encoder_attn_layer_norm(hidden + crossed)
    return layer.final_layer_norm(hidden + feed(layer.fc2(layer.activation_fn(layer.fc1(hidden)))))


def mbart(layer: Any, hidden: Tensor, *positional: Any, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    """The same with the norms first."""
    kwargs |= dict(zip(("attention_mask", "encoder_hidden_states", "encoder_attention_mask"), positional, strict=False))
    encoded, mask = kwargs.pop("encoder_hidden_states", None), kwargs.pop("encoder_attention_mask", None)
    kwargs.pop("use_cache", None)
    hidden = hidden + attend(layer.self_attn(layer.self_attn_layer_norm(hidden), **kwargs)[0])
    if encoded is not None:
        normed = layer.encoder_attn_layer_norm(hidden)
        hidden = hidden + layer.encoder_attn(normed, key_value_states=encoded, attention_mask=mask)[0]
    return hidden + feed(layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden)))))


def t5gemma(
    layer: Any,
    hidden: Tensor,
    *positional: Any,
    attend: Adapter,
    feed: Adapter,
    encoder_hidden_states: Tensor | None = None,
    encoder_attention_mask: Tensor | None = None,
    **kwargs: Any,
) -> Tensor:
    names = ("position_embeddings", "attention_mask", "position_ids", "past_key_values", "use_cache")
    kwargs |= dict(zip(names, positional[:5], strict=False))
    encoder_hidden_states = positional[5] if len(positional) > 5 else encoder_hidden_states
    encoder_attention_mask = positional[6] if len(positional) > 6 else encoder_attention_mask
    kwargs.pop("past_key_values", None)
    attended = layer.self_attn(hidden_states=layer.pre_self_attn_layernorm(hidden), past_key_values=None, **kwargs)[0]
    hidden = hidden + layer.post_self_attn_layernorm(attend(attended))
    if encoder_hidden_states is not None:
        crossed = layer.cross_attn(
            hidden_states=layer.pre_cross_attn_layernorm(hidden),
            encoder_hidden_states=encoder_hidden_states,
            attention_mask=encoder_attention_mask,
            past_key_values=None,
        )[0]
        hidden = hidden + layer.post_cross_attn_layernorm(crossed)
    return hidden + layer.post_feedforward_layernorm(feed(layer.mlp(layer.pre_feedforward_layernorm(hidden))))


def first(output: Tensor | tuple) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


WRITTEN_OUT: dict[str, Callable[..., Any]] = {
    "apertus": apertus, "bart": bart, "cohere": parallel, "cohere2": parallel, "exaone4": post_norm,
    "gemma2": sandwich, "gemma3_text": sandwich, "glm4": glm4, "gpt2": gpt2, "gpt_neox": gpt_neox, "granite": granite,
    "mbart": mbart, "olmo2": post_norm, "olmo3": post_norm, "phi": parallel, "t5gemma": t5gemma,
}  # fmt: skip


def layers_of(backbone: PreTrainedModel) -> dict[str, Sequence[nn.Module]]:
    if backbone.config.is_encoder_decoder:
        return {"encoder": backbone.model.encoder.layers, "decoder": backbone.model.decoder.layers}
    inner = backbone.base_model
    return {"decoder": inner.h if hasattr(inner, "h") else inner.layers}


def write_out(backbone: PreTrainedModel, weights: dict[AdapterSite, AdapterWeights]) -> PreTrainedModel:
    """Replaces every layer's forward by the hand-written one with its adapters; no hooks."""
    forward = WRITTEN_OUT.get(backbone.config.model_type, pre_norm)
    for stack, layers in layers_of(backbone).items():
        for number, layer in enumerate(layers):
            attend, feed = (
                partial(bottleneck, weights[AdapterSite(stack, number, position)])
                for position in ("self_attention", "feed_forward")
            )
            layer.forward = MethodType(partial(_call, forward, attend, feed), layer)
    return backbone


def _call(forward: Callable, attend: Adapter, feed: Adapter, layer: Any, hidden_states: Tensor, *args, **kwargs) -> Any:
    return forward(layer, hidden_states, *args, attend=attend, feed=feed, **kwargs)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> AdaptedModel:
    return adapted(tiny_backbone(request.param))


@torch.no_grad()
def test_logits_are_those_of_a_model_written_out(model: AdaptedModel) -> None:
    model_type = model.backbone.config.model_type
    if model.family.label == "T5":
        return  # tests/adapters compares T5 with the reference's own numbers
    batch = model.family.layout.training_batch(PROMPTS[:3], TARGETS[:3], pad_id=0)
    inputs = model.family.layout.forward_inputs(model.backbone, batch)
    written = write_out(tiny_backbone(model_type), model.adapter_weights("rte"))
    expected = written(**inputs, use_cache=False).logits
    found = model(**inputs, task="rte", use_cache=False).logits
    mask = batch["labels"] != -100
    torch.testing.assert_close(found[mask], expected[mask], atol=2e-5, rtol=2e-5)
    plain = tiny_backbone(model_type)(**inputs, use_cache=False).logits
    assert (found - plain)[mask].abs().max() > 0.05  # the adapters matter
