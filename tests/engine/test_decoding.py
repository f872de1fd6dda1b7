"""What a generation configuration asks for is done, or left to `generate`."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "backbones"))
from tiny_backbones import adapted, tiny_backbone, token_ids

from hyperformer_cli.engine.decoding import decode_greedily, greedy_rules

PROMPTS, TASK_IDS = token_ids(9, 3, 6), [0, 2, 1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("forced_eos_token_id", 2), ("suppress_tokens", [7]), ("begin_suppress_tokens", [7]), ("min_length", 3),
        ("min_new_tokens", 2), ("no_repeat_ngram_size", 2), ("repetition_penalty", 1.5), ("bad_words_ids", [[7, 8]]),
        ("encoder_repetition_penalty", 1.2), ("encoder_no_repeat_ngram_size", 2), ("sequence_bias", [[[7], -9.0]]),
        ("exponential_decay_length_penalty", (1, 2.0)), ("stop_strings", ["x"]), ("max_time", 1.0),
        ("penalty_alpha", 0.6), ("num_beams", 2), ("do_sample", True), ("cache_implementation", "static"),
        ("guidance_scale", 2.0), ("prompt_lookup_num_tokens", 2), ("watermarking_config", {"greenlist_ratio": 0.3}),
        ("num_return_sequences", 2), ("return_dict_in_generate", True), ("a_key_of_a_later_release", 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("model_type", ["bart", "llama"])
def test_what_is_not_done_here_is_left_to_generate(key: str, value: Any, model_type: str) -> None:
    model = adapted(tiny_backbone(model_type))
    model.backbone.generation_config.forced_eos_token_id = None
    assert greedy_rules(model, {}) is not None
    assert greedy_rules(model, {key: value}) is None
    setattr(model.backbone.generation_config, key, value)
    assert greedy_rules(model, {}) is None
    assert greedy_rules(model, {key: None}) is not None


@torch.no_grad()
def test_a_forced_first_token_and_several_ends() -> None:
    model = adapted(tiny_backbone("bart"))
    batch = model.family.layout.generation_batch(PROMPTS, pad_id=0)
    options = {"forced_eos_token_id": None, "forced_bos_token_id": 9, "decoder_start_token_id": 4}
    free = model.generate(**batch, task_ids=TASK_IDS, max_new_tokens=6, do_sample=False, eos_token_id=[63], **options)
    options["eos_token_id"] = sorted({int(free[0, 3]), int(free[1, 4]), 62})
    rules = greedy_rules(model, options)
    assert rules is not None and (rules.start_id, rules.forced_id) == (4, 9)
    with model.adapting(TASK_IDS):
        begun = model.family.layout.begin(model.backbone, batch, rules.start_id)
        found = decode_greedily(model, *begun, TASK_IDS, [6, 6, 6], rules)
    expected = model.generate(**batch, task_ids=TASK_IDS, max_new_tokens=6, do_sample=False, **options)
    assert found.tolist() == expected[:, 1:].tolist() and (found[:, 0] == 9).all()


def test_a_decoder_only_model_that_forces_a_first_token_is_left_to_generate() -> None:
    model = adapted(tiny_backbone("llama"))
    assert greedy_rules(model, {"forced_bos_token_id": 3}) is None


def test_a_decoder_without_a_start_token_is_left_to_generate() -> None:
    model = adapted(tiny_backbone("t5"))
    options = {"decoder_start_token_id": None, "bos_token_id": None}
    assert greedy_rules(model, options) is None
