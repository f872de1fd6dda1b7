"""A tiny T5 with a method attached and every trained weight random, and a batch for it."""

import torch
from torch import Tensor
from transformers import PreTrainedModel, T5Config, T5ForConditionalGeneration

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.config.adapter import METHODS

TASKS = ["cola", "mrpc", "rte"]
SHAPE = {
    "vocab_size": 64, "d_model": 16, "d_ff": 32, "d_kv": 4, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0,
    "decoder_start_token_id": 0,
}  # fmt: skip
WITH_BANK = [method for method in METHODS if method != "finetune"]


def backbone(**changes) -> PreTrainedModel:
    torch.manual_seed(0)
    return T5ForConditionalGeneration(T5Config(**{**SHAPE, **changes}))


def adapted(method: str = "hyperformer++", module: PreTrainedModel | None = None, **options) -> AdaptedModel:
    """With every trained weight random, so that no adapter is near the identity."""
    if method != "finetune":
        options.setdefault("reduction_factor", 4)
    model = AdaptedModel.attach(module or backbone(), AdapterConfig(method=method, tasks=TASKS, **options)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


def batch(rows: int = 4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(3, 64, (rows, 7), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.randint(3, 64, (rows, 3), generator=generator)}
