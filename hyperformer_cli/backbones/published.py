"""Shapes of published models, as their configuration files state them.

With them `count-params` and `--dry-run` answer without network. Names of variants (instruction-tuned, UL2) share a
shape.
"""

from copy import deepcopy
from typing import Any

Shape = dict[str, Any]


def _shape(model_type: str, width: int, inner: int, layers: int, heads: int, key_values: int, **other: Any) -> Shape:
    return {
        "model_type": model_type,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_values,
        **other,
    }


_SMOLLM2: Shape = {
    "vocab_size": 49152, "tie_word_embeddings": True, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
_LLAMA3: Shape = {
    "vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "bos_token_id": 128000, "eos_token_id": 128001,
}  # fmt: skip
_LLAMA3_LONG: Shape = {
    "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
}  # fmt: skip
_MISTRAL: Shape = {
    "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
_QWEN: Shape = {
    "vocab_size": 151936, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
    "tie_word_embeddings": True, "bos_token_id": 151643, "eos_token_id": 151643,
}  # fmt: skip
_QWEN3: Shape = {**_QWEN, "max_position_embeddings": 40960, "head_dim": 128}
_GEMMA: Shape = {
    "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "query_pre_attn_scalar": 256,
    "tie_word_embeddings": True, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
}  # fmt: skip
_GEMMA2: Shape = {
    **_GEMMA, "vocab_size": 256000, "max_position_embeddings": 8192, "rope_theta": 10000.0, "sliding_window": 4096,
    "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
}  # fmt: skip
_GEMMA3: Shape = {
    **_GEMMA, "vocab_size": 262144, "max_position_embeddings": 32768, "rope_theta": 1000000.0,
    "rope_local_base_freq": 10000.0, "sliding_window": 512, "sliding_window_pattern": 6,
}  # fmt: skip
_OLMO2: Shape = {
    "vocab_size": 100352, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 500000.0,
    "tie_word_embeddings": False, "pad_token_id": 100277, "eos_token_id": 100257,
}  # fmt: skip


def _gpt2(width: int, layers: int, heads: int) -> Shape:
    return {"model_type": "gpt2", "vocab_size": 50257, "n_embd": width, "n_layer": layers, "n_head": heads}


def _pythia(width: int, layers: int, heads: int) -> Shape:
    return {
        "model_type": "gpt_neox", "vocab_size": 50304, "hidden_size": width, "intermediate_size": 4 * width,
        "num_hidden_layers": layers, "num_attention_heads": heads, "max_position_embeddings": 2048, "rotary_pct": 0.25,
        "use_parallel_residual": True, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip


def _bart(model_type: str, vocabulary: int, width: int, layers: int, heads: int, **other: Any) -> Shape:
    return {
        "model_type": model_type, "vocab_size": vocabulary, "d_model": width, "max_position_embeddings": 1024,
        "encoder_layers": layers, "decoder_layers": layers, "encoder_attention_heads": heads,
        "decoder_attention_heads": heads, "encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width,
        "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2, **other,
    }  # fmt: skip


def _t5gemma(width: int, inner: int, layers: int, heads: int, key_values: int, head_dim: int = 64) -> Shape:
    own = {**_GEMMA2, "head_dim": head_dim, "query_pre_attn_scalar": head_dim}
    stack = _shape("t5_gemma_module", width, inner, layers, heads, key_values, **own)
    both = {"encoder": stack, "decoder": {**stack, "is_decoder": True, "cross_attention_hidden_size": width}}
    return {"model_type": "t5gemma", "vocab_size": 256000, "tie_word_embeddings": True, **both}


_T5: Shape = {"model_type": "t5", "vocab_size": 32128, "d_kv": 64}
_V1_1: Shape = {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
T5_SHAPES: dict[str, Shape] = {
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
SHAPES: dict[str, Shape] = {
    "HuggingFaceTB/SmolLM2-135M": _shape("llama", 576, 1536, 30, 9, 3, **_SMOLLM2),
    "HuggingFaceTB/SmolLM2-360M": _shape("llama", 960, 2560, 32, 15, 5, **_SMOLLM2),
    "HuggingFaceTB/SmolLM2-1.7B": _shape("llama", 2048, 8192, 24, 32, 32, **_SMOLLM2 | {"rope_theta": 130000.0}),
    "HuggingFaceTB/SmolLM3-3B": _shape(
        "smollm3", 2048, 11008, 36, 16, 4, vocab_size=128256, max_position_embeddings=65536, rms_norm_eps=1e-6,
        rope_theta=5000000.0, no_rope_layer_interval=4, tie_word_embeddings=True, pad_token_id=128004,
        bos_token_id=128000, eos_token_id=128012,
    ),
    "meta-llama/Llama-3.2-1B": _shape(
        "llama", 2048, 8192, 16, 32, 8, **_LLAMA3, head_dim=64, tie_word_embeddings=True,
        rope_scaling={**_LLAMA3_LONG, "factor": 32.0},
    ),
    "meta-llama/Llama-3.2-3B": _shape(
        "llama", 3072, 8192, 28, 24, 8, **_LLAMA3, head_dim=128, tie_word_embeddings=True,
        rope_scaling={**_LLAMA3_LONG, "factor": 32.0},
    ),
    "meta-llama/Llama-3.1-8B": _shape(
        "llama", 4096, 14336, 32, 32, 8, **_LLAMA3, tie_word_embeddings=False,
        rope_scaling={**_LLAMA3_LONG, "factor": 8.0},
    ),
    "mistralai/Mistral-7B-v0.1": _shape(
        "mistral", 4096, 14336, 32, 32, 8, **_MISTRAL, vocab_size=32000, rope_theta=10000.0, sliding_window=4096
    ),
    "mistralai/Mistral-7B-v0.3": _shape(
        "mistral", 4096, 14336, 32, 32, 8, **_MISTRAL, vocab_size=32768, rope_theta=1000000.0, sliding_window=None
    ),
    "Qwen/Qwen2.5-0.5B": _shape("qwen2", 896, 4864, 24, 14, 2, **_QWEN),
    "Qwen/Qwen2.5-1.5B": _shape("qwen2", 1536, 8960, 28, 12, 2, **_QWEN | {"max_position_embeddings": 131072}),
    "Qwen/Qwen3-0.6B": _shape("qwen3", 1024, 3072, 28, 16, 8, **_QWEN3),
    "Qwen/Qwen3-1.7B": _shape("qwen3", 2048, 6144, 28, 16, 8, **_QWEN3),
    "Qwen/Qwen3-4B": _shape("qwen3", 2560, 9728, 36, 32, 8, **_QWEN3),
    "Qwen/Qwen3-8B": _shape("qwen3", 4096, 12288, 36, 32, 8, **_QWEN3 | {"tie_word_embeddings": False}),
    "google/gemma-2-2b": _shape("gemma2", 2304, 9216, 26, 8, 4, **_GEMMA2),
    "google/gemma-3-270m": _shape("gemma3_text", 640, 2048, 18, 4, 1, **_GEMMA3),
    "google/gemma-3-1b": _shape("gemma3_text", 1152, 6912, 26, 4, 1, **_GEMMA3),
    "allenai/OLMo-2-0425-1B": _shape("olmo2", 2048, 8192, 16, 16, 16, **_OLMO2),
    "openai-community/gpt2": _gpt2(768, 12, 12),
    "openai-community/gpt2-medium": _gpt2(1024, 24, 16),
    "openai-community/gpt2-large": _gpt2(1280, 36, 20),
    "EleutherAI/pythia-160m": _pythia(768, 12, 12),
    "EleutherAI/pythia-410m": _pythia(1024, 24, 16),
    "facebook/bart-base": _bart("bart", 50265, 768, 6, 12),
    "facebook/bart-large": _bart("bart", 50265, 1024, 12, 16),
    "facebook/mbart-large-50": _bart("mbart", 250054, 1024, 12, 16, scale_embedding=True),
    "google/t5gemma-s-s": _t5gemma(512, 1024, 8, 8, 8),
    "google/t5gemma-b-b": _t5gemma(768, 2048, 12, 12, 12),
    "google/t5gemma-l-l": _t5gemma(1024, 2816, 24, 16, 16),
    "google/t5gemma-2b-2b": _t5gemma(2304, 9216, 26, 8, 4, head_dim=256),
}  # fmt: skip
# Endings of the names of checkpoints that have the same shape; the longest are tried first.
_VARIANTS = ("-prefixlm-it", "-ul2-it", "-prefixlm", "-Instruct", "-Base", "-ul2", "-pt", "-it")


_T5_OWNERS = {"google-t5/": "", "google/t5-v1_1-": "t5-v1_1-", "google/flan-t5-": "t5-v1_1-"}


def published(name: str) -> Shape | None:
    """The configuration of a published checkpoint; None for a name that is not in the table.

    `google-t5/t5-small` and `t5-small` are T5-small; Flan-T5 has the shapes of T5 v1.1.
    """
    owner = next((owner for owner in _T5_OWNERS if name.startswith(owner)), None)
    t5 = name if owner is None else _T5_OWNERS[owner] + name.removeprefix(owner)
    ending = next((ending for ending in _VARIANTS if name.endswith(ending)), "")
    # A copy, for transformers writes into what a configuration is made of.
    return deepcopy(T5_SHAPES.get(t5) or SHAPES.get(name.removesuffix(ending)))
