"""Parameter counts: the reference's, the paper's formula, and backbones whose configuration follows from others."""

from pathlib import Path

import pytest
from transformers import T5Config

from hyperformer_cli import count_parameters
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.backbones.identity import configuration_hash
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.errors import InputError

# Table 1 and the parameter table: counted by the reference on its own models.
REFERENCE_COUNTS = {
    ("adapters", 1, 32): (446_848, 1_928_832),
    ("adapters", 8, 32): (3_288_064, 14_581_248),
    ("hyperformer", 8, 32): (28_074_560, 122_404_672),
    ("hyperformer-shared-layers", 8, 32): (4_730_816, 10_289_376),
    ("hyperformer++", 8, 32): (2_415_776, 5_211_056),
    ("adapters", 8, 2): (50_520_064, 227_056_128),
}


@pytest.mark.parametrize("key", REFERENCE_COUNTS, ids=str)
def test_counts_are_the_references(key: tuple) -> None:
    method, tasks, r = key
    for name, expected in zip(("t5-small", "google-t5/t5-base"), REFERENCE_COUNTS[key], strict=True):
        counts = count_parameters(method=method, backbone=name, tasks=tasks, reduction_factor=r)
        assert counts.trained == expected
        assert counts.backbone == {"t5-small": 60_506_624}.get(name, 222_903_552)


def test_the_cost_formula_of_section_4_1() -> None:
    """Adapters grow with T x L, HyperFormer++ with T + L."""
    h, d, layers, t, e = 512, 16, 6, 64, 128
    for tasks in (1, 8):
        adapters = count_parameters(method="adapters", tasks=tasks, train_layer_norms=False, layer_norm_after=False)
        assert adapters.trained == 4 * layers * tasks * (2 * h * d + h + d)
        hyper = count_parameters(method="hyperformer++", tasks=tasks, train_layer_norms=False)
        heads = (t + 1) * (2 * h * d + h + d + 2 * h)
        projector = (3 * t + 1) * e + (e + 1) * t + 2 * t
        assert hyper.trained == tasks * t + 2 * (layers + 2) * t + 2 * (heads + projector)


def test_what_follows_from_other_values_follows_from_overrides_too() -> None:
    gated = backbone_config("t5-small", {"feed_forward_proj": "gated-gelu"})
    assert (gated.is_gated_act, gated.dense_act_fn) == (True, "gelu_new")
    untied = backbone_config("t5-small", {"tie_word_embeddings": False})
    assert untied.scale_decoder_outputs == T5Config(tie_word_embeddings=False).scale_decoder_outputs
    hashes = {configuration_hash(config) for config in (gated, untied, backbone_config("t5-small", {}))}
    assert len(hashes) == 3
    with pytest.raises(InputError, match=r"not a t5 configuration|no model can be built"):
        count_parameters(method="finetune", backbone=backbone_config("t5-small", {"feed_forward_proj": "foo-bar-baz"}))


@pytest.mark.parametrize("model_type", ["t5", "mt5", "umt5"])
def test_what_transformers_saves_of_an_untied_model_is_counted_as_one(model_type: str, tmp_path: Path) -> None:
    shape = {"d_model": 16, "d_ff": 32, "d_kv": 4, "num_heads": 4, "num_layers": 1, "vocab_size": 64}
    config = backbone_config(None, {**shape, "model_type": model_type, "tie_word_embeddings": False})
    model = build_backbone(config)
    model.save_pretrained(tmp_path)
    loaded = load_backbone(BackboneSource(str(tmp_path)))
    sizes = {
        sum(p.numel() for p in one.parameters())
        for one in (model, loaded, build_backbone(backbone_config(str(tmp_path), {})))
    }
    assert len(sizes) == 1 and loaded.lm_head.weight is not loaded.shared.weight
    assert configuration_hash(loaded.config) == configuration_hash(backbone_config(str(tmp_path), {}))


def test_t5_v1_1_has_an_output_layer_of_its_own() -> None:
    counts = count_parameters(method="finetune", backbone="google/t5-v1_1-small", tasks=1)
    assert counts.backbone == 60_511_616 + 32128 * 512
