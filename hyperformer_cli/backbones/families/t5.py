"""The T5 family: T5, T5 v1.1, Flan-T5, mT5, ByT5, UMT5."""

from typing import Any

import torch

from hyperformer_cli.backbones.family import Family
from hyperformer_cli.backbones.layouts import EncoderDecoderLayout
from hyperformer_cli.backbones.published import published

# What transformers computes from other values and writes into its files all the same.
_DERIVED = ("is_gated_act", "dense_act_fn", "scale_decoder_outputs")


def _merge(stated: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    values = {key: value for key, value in stated.items() if key not in _DERIVED} | overrides
    if stated.get("scale_decoder_outputs") is False and "tie_word_embeddings" not in overrides:
        values["tie_word_embeddings"] = False  # as transformers 5 reads it, and does not write it
    if "num_layers" in overrides and "num_decoder_layers" not in overrides:
        values["num_decoder_layers"] = overrides["num_layers"]
    if values.get("decoder_start_token_id") is None:
        values["decoder_start_token_id"] = values.get("pad_token_id") or 0
    return values


def _untie_output_layer(model: Any) -> None:
    """T5 v1.1, Flan, mT5 and UMT5 have an output layer of their own; transformers 5 ties it unless a file has it."""
    config = model.config
    if not getattr(config, "scale_decoder_outputs", config.model_type not in ("mt5", "umt5")):
        head = torch.empty_like(model.shared.weight).normal_(std=config.initializer_factor)
        model.lm_head.weight = torch.nn.Parameter(head)


T5 = Family(
    label="T5",
    layout=EncoderDecoderLayout(),
    stacks={"encoder": "encoder.block", "decoder": "decoder.block"},
    sublayers={"self_attention": "layer.0.SelfAttention", "feed_forward": "layer.-1.DenseReluDense"},
    layer_norms=("layer_norm.weight",),
    depths={"encoder": "num_layers", "decoder": "num_decoder_layers"},
    width="d_model",
    feed_forward_width="d_ff",
    identity=(
        "model_type", "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads",
        "relative_attention_num_buckets", "relative_attention_max_distance", "layer_norm_epsilon",
        "feed_forward_proj", "is_gated_act", "dense_act_fn", "scale_decoder_outputs",
    ),
    published=published,
    merge=_merge,
    after_build=_untie_output_layer,
    query_value=("q", "v"),
)  # fmt: skip
