"""The T5Gemma family: Gemma 2's layers as encoder and decoder. Adapters act before the norm behind a sub-layer."""

from typing import Any

from hyperformer_cli.backbones.families.decoder_only import IDENTITY, merge_by_layer
from hyperformer_cli.backbones.family import Family
from hyperformer_cli.backbones.layouts import EncoderDecoderLayout
from hyperformer_cli.backbones.published import published


def _merge(stated: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Values of the two stacks are merged one by one."""
    values = {**stated, **overrides}
    for stack in ("encoder", "decoder"):
        if isinstance(stated.get(stack), dict) and isinstance(overrides.get(stack), dict):
            values[stack] = merge_by_layer(stated[stack], overrides[stack])
    return values


T5GEMMA = Family(
    label="T5Gemma",
    layout=EncoderDecoderLayout(),
    stacks={"encoder": "model.encoder.layers", "decoder": "model.decoder.layers"},
    sublayers={"self_attention": "self_attn", "feed_forward": "mlp"},
    layer_norms=("_layernorm.weight", "encoder.norm.weight", "decoder.norm.weight"),
    depths={"encoder": "encoder.num_hidden_layers", "decoder": "decoder.num_hidden_layers"},
    width="{stack}.hidden_size",
    feed_forward_width="{stack}.intermediate_size",
    heads="{stack}.num_attention_heads",
    vocabulary="decoder.vocab_size",
    identity=("model_type", *(f"{stack}.{key}" for stack in ("encoder", "decoder") for key in IDENTITY)),
    published=published,
    merge=_merge,
)
