"""Shapes that are known without network, against the parameter counts that are published with the checkpoints."""

import pytest
import torch
from transformers import AutoConfig

from hyperformer_cli.backbones.configuration import build_backbone
from hyperformer_cli.backbones.families import published_shape
from hyperformer_cli.backbones.published import SHAPES

# Tied embeddings are counted once; files of some checkpoints (Qwen3-0.6B) hold them twice.
PUBLISHED_COUNTS = {
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
    "HuggingFaceTB/SmolLM3-3B": 3_075_098_624,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "google/gemma-2-2b": 2_614_341_888,
    "google/gemma-3-270m": 268_098_176,
    "google/gemma-3-1b": 999_885_952,
    "allenai/OLMo-2-0425-1B": 1_484_916_736,
    "openai-community/gpt2": 124_439_808,
    "openai-community/gpt2-medium": 354_823_168,
    "openai-community/gpt2-large": 774_030_080,
    "EleutherAI/pythia-160m": 162_322_944,
    "EleutherAI/pythia-410m": 405_334_016,
    "facebook/bart-base": 139_420_416,
    "facebook/bart-large": 406_291_456,
    "facebook/mbart-large-50": 610_879_488,
    "google/t5gemma-s-s": 312_517_632,
    "google/t5gemma-b-b": 591_490_560,
    "google/t5gemma-l-l": 1_241_761_792,
    "google/t5gemma-2b-2b": 5_596_853_760,
}


def test_every_shape_has_a_published_count() -> None:
    assert set(PUBLISHED_COUNTS) == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_the_published_number_of_parameters(name: str) -> None:
    shape = published_shape(name)
    assert shape is not None
    with torch.device("meta"):
        model = build_backbone(AutoConfig.for_model(**shape))
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED_COUNTS[name]


@pytest.mark.parametrize(
    ("variant", "base"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M"),
        ("Qwen/Qwen3-0.6B-Base", "Qwen/Qwen3-0.6B"),
        ("google/gemma-3-1b-pt", "google/gemma-3-1b"),
        ("google/t5gemma-b-b-prefixlm-it", "google/t5gemma-b-b"),
        ("google/t5gemma-b-b-ul2", "google/t5gemma-b-b"),
    ],
)
def test_variants_share_a_shape(variant: str, base: str) -> None:
    assert published_shape(variant) == published_shape(base) is not None


def test_other_names_are_not_known() -> None:
    for name in ("someone/Qwen3-0.6B", "Qwen/Qwen3-0.6B-Reranker", "gemma-3-1b", ""):
        assert published_shape(name) is None


def test_long_context_and_local_layers_are_those_of_the_checkpoints() -> None:
    llama = AutoConfig.for_model(**published_shape("meta-llama/Llama-3.2-1B"))
    assert (llama.rope_parameters["rope_type"], llama.rope_parameters["factor"]) == ("llama3", 32.0)
    gemma = AutoConfig.for_model(**published_shape("google/gemma-3-1b"))
    assert [i for i, kind in enumerate(gemma.layer_types) if kind == "full_attention"] == [5, 11, 17, 23]
    assert gemma.rope_parameters["sliding_attention"]["rope_theta"] == 10000.0
    smollm = AutoConfig.for_model(**published_shape("HuggingFaceTB/SmolLM3-3B"))
    assert [i for i, rotary in enumerate(smollm.no_rope_layers) if not rotary][:2] == [3, 7]
