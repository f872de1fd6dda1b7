"""Backbone families: where things are, what is published, and what is refused by name."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, BertConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration
from transformers.pytorch_utils import Conv1D

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.adapters.forms import make_form
from hyperformer_cli.adapters.tensor_groups import by_site, group_tensors
from hyperformer_cli.backbones.families import family_of, published_shape
from hyperformer_cli.backbones.families.decoder_only import LLAMA
from hyperformer_cli.backbones.families.t5 import T5
from hyperformer_cli.backbones.families.t5gemma import T5GEMMA
from hyperformer_cli.backbones.layouts import EncoderDecoderLayout
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.errors import InputError

SHAPE = {
    "vocab_size": 64,
    "d_model": 16,
    "d_ff": 32,
    "d_kv": 4,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
}


@pytest.fixture(scope="module")
def backbone() -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    return T5ForConditionalGeneration(T5Config(**SHAPE, decoder_start_token_id=0))


def test_where_things_are_in_a_t5(backbone: T5ForConditionalGeneration) -> None:
    assert [len(T5.layers(backbone, stack)) for stack in T5.stacks] == [2, 3]
    assert [T5.depth(backbone.config, stack) for stack in T5.stacks] == [2, 3]
    last = T5.layers(backbone, "decoder")[-1]
    assert T5.sublayer(last, "self_attention") is backbone.decoder.block[2].layer[0].SelfAttention
    assert T5.sublayer(last, "feed_forward") is backbone.decoder.block[2].layer[2].DenseReluDense
    maps = T5.linear_maps(last)
    attention = {f"{name}.{part}" for name in ("SelfAttention", "EncDecAttention") for part in "qkvo"}
    assert set(maps) == attention | {"DenseReluDense.wi", "DenseReluDense.wo"}
    assert maps["EncDecAttention.q"] is backbone.decoder.block[2].layer[1].EncDecAttention.q
    norms = [name for name, _ in backbone.named_parameters() if T5.is_layer_norm(name)]
    assert len(norms) == 2 * 2 + 3 * 3 + 2  # of every sub-layer, and one at the end of each stack


def test_linear_maps_of_other_kinds_and_modules_without_any() -> None:
    layer = nn.ModuleDict({"attn": nn.ModuleDict({"c_attn": Conv1D(6, 2)}), "norm": nn.LayerNorm(2)})
    assert set(T5.linear_maps(layer)) == {"attn.c_attn"}


def test_published_shapes_are_known_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert published_shape("google-t5/t5-small") == published_shape("t5-small")
    assert published_shape("google/flan-t5-base") == published_shape("google/t5-v1_1-base")
    assert published_shape("someone/t5-small") is None
    monkeypatch.chdir(tmp_path)
    Path("t5-small").mkdir()
    assert published_shape("t5-small") is None  # a folder is what is in it


def test_unknown_architectures_are_refused_by_name(tmp_path: Path) -> None:
    for unknown in ("bert", BertConfig()):
        with pytest.raises(InputError, match=r"architecture 'bert' is not supported.*T5 family \(t5, mt5, umt5\)"):
            family_of(unknown)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="architecture 'bert' is not supported"):
        load_backbone(BackboneSource(str(tmp_path)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bert", "an encoder, which writes no text"),
        ("gemma3", "it reads images too; its text model, 'gemma3_text', is supported on its own"),
        ("llava", "it reads images too; take a model of text alone"),
        ("mamba", ""),
        ("nothing-known", ""),
    ],
)
def test_refusals_say_what_kind_a_model_is(name: str, reason: str) -> None:
    with pytest.raises(InputError) as raised:
        family_of(name)
    message = str(raised.value)
    assert message.startswith(f"architecture '{name}' is not supported" + (f": {reason}. " if reason else ". "))
    assert "the decoder-only family (apertus, " in message and "the BART family (bart, mbart)" in message
    assert len(message) < 900 and "\n" not in message


def test_layers_that_differ_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="enable_moe_block is not supported: its experts work beside"):
        family_of(AutoConfig.for_model("gemma4_text", enable_moe_block=True))
    hybrid = nn.ModuleDict({"linear_attn": nn.Linear(2, 2), "mlp": nn.Linear(2, 2)})
    with pytest.raises(InputError, match="no self_attn in every layer, where the decoder-only family has its"):
        LLAMA.sublayer(hybrid, "self_attention")


def test_a_depth_of_ones_own_leaves_lists_by_layer_to_the_library() -> None:
    stated = {"model_type": "gemma2", "num_hidden_layers": 3, "layer_types": ["full_attention"] * 3, "hidden_size": 8}
    assert LLAMA.merge(stated, {"num_hidden_layers": 2}) == {
        "model_type": "gemma2", "num_hidden_layers": 2, "hidden_size": 8
    }  # fmt: skip
    assert LLAMA.merge(stated, {"hidden_size": 16}) == {**stated, "hidden_size": 16}
    values = {"encoder": {"num_hidden_layers": 2, "layer_types": [1, 2], "a": 1}, "decoder": {"b": 2}, "c": 3}
    merged = T5GEMMA.merge(values, {"encoder": {"num_hidden_layers": 1}, "c": 4})
    assert merged == {"encoder": {"num_hidden_layers": 1, "a": 1}, "decoder": {"b": 2}, "c": 4}


def test_nothing_to_train_is_refused() -> None:
    olmo = AutoConfig.for_model(
        "llama", vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = LlamaForCausalLM(olmo)
    layer = model.model.layers[0]
    layer.input_layernorm = layer.post_attention_layernorm = model.model.norm = nn.Identity()
    with pytest.raises(InputError, match="nothing would be trained"):
        AdaptedModel.attach(model, AdapterConfig(method="adapters", adapter_blocks=False, tasks=["a"]))


def test_a_model_without_the_familys_modules_is_refused(backbone: T5ForConditionalGeneration) -> None:
    with pytest.raises(InputError, match=r"no layers at encoder\.block"):
        T5.layers(nn.Linear(2, 2), "encoder")
    with pytest.raises(InputError, match="feed_forward"):
        T5.sublayer(nn.ModuleDict({"layer": nn.ModuleList([nn.Linear(2, 2)])}), "feed_forward")


def test_generation_copies_what_beams_would_repeat_in_place() -> None:
    layout, encoded = EncoderDecoderLayout(), {"encoder_outputs": {"hidden": 1}}
    options = layout.generation_options(encoded, [2, 2])
    assert options["encoder_outputs"] == encoded["encoder_outputs"]
    assert options["encoder_outputs"] is not encoded["encoder_outputs"]
    assert "past_key_values" in layout.generation_options({}, [2, 3])
    assert layout.generation_options({"use_cache": False}, [2, 3]) == layout.generation_options({}, [2, 2]) == {}


@pytest.mark.parametrize("method", ["adapters", "hyperformer", "hyperformer-shared-layers", "hyperformer++"])
def test_every_site_has_the_tensors_its_form_lists(method: str, backbone: T5ForConditionalGeneration) -> None:
    config = AdapterConfig(method=method, tasks=["a", "b"], reduction_factor=4, layer_norm_before=True)
    form = make_form(config)
    sites = list(form.find_sites(backbone, T5))
    assert {(site.input_width, site.output_width) for site in sites} == {(16, 16)}
    groups = group_tensors(form, sites)
    model = AdaptedModel.attach(T5ForConditionalGeneration(backbone.config), config)
    found = by_site(model.bank([1]), groups)
    assert list(found) == sites == model.sites
    for site in sites:
        specs = form.tensors(site)
        assert {name: tensor.shape for name, tensor in found[site].items()} == {n: s.shape for n, s in specs.items()}
