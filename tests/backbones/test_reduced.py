"""Loading in bfloat16 gives what loading in float32 and rounding gave, without the float32 copy."""

from pathlib import Path

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.identity import frozen_hash
from hyperformer_cli.backbones.source import BackboneSource, load_backbone

SHAPE = {"vocab_size": 64, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(T5Config(**SHAPE, decoder_start_token_id=0))
    for parameter in model.parameters():  # layer norms start as ones, which every precision holds
        parameter.data += 0.01 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("train_layer_norms", [True, False])
def test_the_same_weights_as_rounded_ones(train_layer_norms: bool, folder: Path) -> None:
    config = AdapterConfig(method="hyperformer++", tasks=["a"], reduction_factor=4, train_layer_norms=train_layer_norms)
    source = BackboneSource(str(folder), dtype="bfloat16")
    loaded = load_backbone(source)
    assert type(loaded) is T5ForConditionalGeneration
    large = [name for name, p in loaded.named_parameters() if p.dtype != torch.bfloat16]
    assert large and all("layer_norm" in name for name in large)
    torch.manual_seed(1)
    new = AdaptedModel.attach(loaded, config, source)
    torch.manual_seed(1)
    old = AdaptedModel.attach(T5ForConditionalGeneration.from_pretrained(folder), config, source)
    assert frozen_hash(new.backbone) == frozen_hash(old.backbone)
    for (name, one), (_, other) in zip(new.named_parameters(), old.named_parameters(), strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other), name
    ids = torch.tensor([[5, 6, 7, 1]])
    with torch.no_grad():
        logits = [model.eval()(input_ids=ids, labels=ids, task="a").logits for model in (new, old)]
    assert torch.equal(*logits)


def test_the_class_of_transformers_is_unchanged(folder: Path) -> None:
    before = T5ForConditionalGeneration._keep_in_fp32_modules_strict
    load_backbone(BackboneSource(str(folder), dtype="bfloat16"))
    assert T5ForConditionalGeneration._keep_in_fp32_modules_strict is before
    reloaded = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)
    assert {p.dtype for p in reloaded.parameters()} == {torch.bfloat16}
