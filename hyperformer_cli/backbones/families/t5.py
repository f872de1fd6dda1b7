"""The T5 family: T5, T5 v1.1, Flan-T5, mT5, ByT5, UMT5."""

from typing import Any

import torch

from hyperformer_cli.backbones.family import Family
from hyperformer_cli.backbones.layouts import EncoderDecoderLayout

_T5 = {"model_type": "t5", "vocab_size": 32128, "d_kv": 64}
_V1_1 = {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_SHAPES: dict[str, dict[str, Any]] = {
    "t5-small": {**_T5, "d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "t5-base": {**_T5, "d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "t5-large": {**_T5, "d_model": 1024, "d_ff": 4096, "num_layers": 24, "num_heads": 16},
    "t5-3b": {**_T5, "d_model": 1024, "d_kv": 128, "d_ff": 16384, "num_layers": 24, "num_heads": 32},
    "t5-11b": {**_T5, "d_model": 1024, "d_kv": 128, "d_ff": 65536, "num_layers": 24, "num_heads": 128},
    "t5-v1_1-small": {**_V1_1, "d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6},
    "t5-v1_1-base": {**_V1_1, "d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12},
    "t5-v1_1-large": {**_V1_1, "d_model": 1024, "d_ff": 2816, "num_layers": 24, "num_heads": 16},
    "t5-v1_1-xl": {**_V1_1, "d_model": 2048, "d_ff": 5120, "num_layers": 24, "num_heads": 32},
    "t5-v1_1-xxl": {**_V1_1, "d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64},
}
# What transformers computes from other values and writes into its files all the same.
_DERIVED = ("is_gated_act", "dense_act_fn", "scale_decoder_outputs")
_OWNERS = {"google-t5/": "", "google/t5-v1_1-": "t5-v1_1-", "google/flan-t5-": "t5-v1_1-"}


def _published(name: str) -> dict[str, Any] | None:
    """`google-t5/t5-small` and `t5-small` are T5-small; Flan-T5 has the shapes of T5 v1.1."""
    owner = next((owner for owner in _OWNERS if name.startswith(owner)), None)
    return _SHAPES.get(name if owner is None else _OWNERS[owner] + name.removeprefix(owner))


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
    published=_published,
    merge=_merge,
    after_build=_untie_output_layer,
    query_value=("q", "v"),
)  # fmt: skip
