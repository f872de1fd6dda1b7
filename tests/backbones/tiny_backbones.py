"""A tiny random model of every covered architecture, and a method attached with every trained weight random."""

from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.configuration import build_backbone
from hyperformer_cli.backbones.families import FAMILIES, family_of

TASKS = ["cola", "mrpc", "rte"]
VOCABULARY = 64
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_LAYERS = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "vocab_size": VOCABULARY,
}  # fmt: skip
_EXPERTS = {
    "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}  # fmt: skip
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_BART = {
    "vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 40, "max_position_embeddings": 64,
    "decoder_start_token_id": 2, "dropout": 0.0,
}  # fmt: skip
_T5 = {
    "vocab_size": VOCABULARY, "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_decoder_layers": 3,
    "num_heads": 4, "dropout_rate": 0.0, "decoder_start_token_id": 0,
}  # fmt: skip
# What makes one architecture unlike the others; windows are shorter than the inputs.
_OWN: dict[str, dict[str, Any]] = {
    "gemma2": {"sliding_window": 4, "query_pre_attn_scalar": 8},
    "gemma3_text": {"sliding_window": 4, "query_pre_attn_scalar": 8},
    "granite": {"residual_multiplier": 0.5, "attention_multiplier": 0.3, "logits_scaling": 2.0},
    "mistral": {"sliding_window": 4},
    "smollm3": {"no_rope_layers": [1, 0]},
    "t5gemma": {
        "encoder": {**_LAYERS, **SPECIAL, "hidden_size": 24, "sliding_window": 4, "query_pre_attn_scalar": 8},
        "decoder": {**_LAYERS, **SPECIAL, "num_hidden_layers": 3, "query_pre_attn_scalar": 8},
        "dropout_rate": 0.0,
    },
}

DECODER_ONLY = [name for name in FAMILIES if family_of(name).layout.joins_target]
ENCODER_DECODER = [name for name in FAMILIES if name not in DECODER_ONLY]


def tiny_backbone(model_type: str, **changes: Any) -> PreTrainedModel:
    """In evaluation mode, with weights so large that attention and positions matter."""
    own: dict[str, Any] = {**_LAYERS, **_EXPERTS, **_GPT2, **_BART, **_T5}
    known = AutoConfig.for_model(model_type).to_dict()
    values = {key: value for key, value in own.items() if key in known}
    values |= {**SPECIAL, **_OWN.get(model_type, {}), **changes}
    backbone = build_backbone(AutoConfig.for_model(model_type, **values)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if parameter.dim() > 1 and "embed" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
            elif "norm" in name or "ln_" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return backbone


def adapted(backbone: PreTrainedModel, method: str = "hyperformer++", **options: Any) -> AdaptedModel:
    """In evaluation mode, every weight of the bank random, so that no adapter is near the identity."""
    if method != "finetune":
        options = {"reduction_factor": 4, **options}
    model = AdaptedModel.attach(backbone, AdapterConfig(method=method, tasks=TASKS, **options)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.bank.parameters() if model.bank is not None else ():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def token_ids(*lengths: int, seed: int = 2) -> list[list[int]]:
    """Sequences of ordinary tokens."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
