"""Decoder-only families. Modern models share one module tree; GPT-2 and GPT-NeoX have their own names.

Layer norms that are trained are those of the layers and the one behind the last layer, as in T5; the norms of queries
and keys inside an attention (`q_norm`, `k_norm`: Qwen3, Gemma 3, OLMo 2) stay frozen.
"""

from dataclasses import replace
from typing import Any

from hyperformer_cli.backbones.family import Family
from hyperformer_cli.backbones.layouts import DecoderOnlyLayout
from hyperformer_cli.backbones.published import published

IDENTITY = (
    "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "hidden_activation", "rms_norm_eps", "layer_norm_eps", "norm_eps",
    "rope_parameters", "partial_rotary_factor", "sliding_window", "layer_types", "no_rope_layers",
    "tie_word_embeddings", "attention_bias", "mlp_bias", "use_qkv_bias", "use_bias", "query_pre_attn_scalar",
    "attn_logit_softcapping", "final_logit_softcapping", "attention_multiplier", "embedding_multiplier",
    "residual_multiplier", "logits_scaling", "logit_scale", "use_qk_norm", "num_experts", "num_local_experts",
    "num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size", "norm_topk_prob",
    "num_kv_shared_layers", "use_double_wide_mlp", "hidden_size_per_layer_input", "global_head_dim",
)  # fmt: skip


def merge_by_layer(stated: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides over what is stated; lists with an entry per layer are left to the library where the depth changes."""
    depth = stated.get("num_hidden_layers")
    if overrides.get("num_hidden_layers", depth) != depth:
        stated = {key: value for key, value in stated.items() if not (isinstance(value, list) and len(value) == depth)}
    return {**stated, **overrides}


LLAMA = Family(
    label="decoder-only",
    layout=DecoderOnlyLayout(),
    stacks={"decoder": "model.layers"},
    sublayers={"self_attention": "self_attn", "feed_forward": "mlp"},
    layer_norms=tuple(
        f"{name}.{part}"
        for name in (
            "input_layernorm", "attention_layernorm", "feedforward_layernorm", "post_self_attn_layernorm",
            "post_mlp_layernorm", "post_per_layer_input_norm", "model.norm", "model.final_layernorm",
        )
        for part in ("weight", "bias")
    ),
    depths={"decoder": "num_hidden_layers"},
    width="hidden_size",
    feed_forward_width="intermediate_size",
    identity=IDENTITY,
    refused={"enable_moe_block": "its experts work beside the feed-forward, not in it"},
    published=published,
    merge=merge_by_layer,
    query_value=("q_proj", "v_proj", "qkv_proj"),
)  # fmt: skip

GPT2 = replace(
    LLAMA,
    label="GPT-2",
    stacks={"decoder": "transformer.h"},
    sublayers={"self_attention": "attn", "feed_forward": "mlp"},
    layer_norms=tuple(f"{name}.{part}" for name in ("ln_1", "ln_2", "ln_f") for part in ("weight", "bias")),
    depths={"decoder": "n_layer"},
    width="n_embd",
    feed_forward_width="n_inner",
    heads="n_head",
    query_value=("c_attn",),
    identity=(
        "model_type", "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function",
        "layer_norm_epsilon", "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings",
    ),
)  # fmt: skip

GPT_NEOX = replace(
    LLAMA,
    label="GPT-NeoX",
    stacks={"decoder": "gpt_neox.layers"},
    sublayers={"self_attention": "attention", "feed_forward": "mlp"},
    layer_norms=tuple(
        f"{name}.{part}"
        for name in ("input_layernorm", "post_attention_layernorm", "final_layer_norm")
        for part in ("weight", "bias")
    ),
    identity=(*IDENTITY, "use_parallel_residual", "rotary_pct"),
    query_value=("query_key_value",),
)
