"""Recipes of present-day backbones: what they share, and each in small, on random weights and the miniature's rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from hyperformer_cli.config.loading import load_recipe, shipped_recipes
from hyperformer_cli.training.plan import plan
from hyperformer_cli.training.train_recipe import train_recipe

RECIPES = [name for name in shipped_recipes() if name.startswith("lm/")]
IDS = {"vocab_size": 670, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
LAYERS = {
    **IDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip
BART = {
    **IDS, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "decoder_start_token_id": 1,
}  # fmt: skip
SMALL: dict[str, Any] = {"t5gemma": {**IDS, "encoder": LAYERS, "decoder": LAYERS}, "bart": BART}


def test_every_backbone_has_every_method() -> None:
    backbones, methods = zip(*(name.split("/")[1:] for name in RECIPES), strict=True)
    assert len(RECIPES) == len(set(backbones)) * len(set(methods)) == 24
    assert set(methods) == {"hyperpp", "adapters", "adapters_shared", "finetune"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_how_it_is_launched_and_that_it_was_not_run(name: str) -> None:
    _, first, second, *_ = shipped_recipes()[name].read_text().splitlines()
    assert first.endswith(f"hyperformer train recipes/{name}.yaml")
    stated = int(second.split("About ")[1].split(" GiB")[0])
    assert plan(load_recipe(name))["memory_gib_estimate"] == pytest.approx(stated, abs=0.51)
    assert "Not run" in second


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_in_small(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backbone = name.split("/")[1]
    small = {
        "model.init": "random",
        "model.config": SMALL.get(backbone, LAYERS),
        "model.tokenizer": "bundled" if backbone in SMALL else "bundled-lm",
        "tasks": ["mini_cola", "mini_rte"],
        "data.source": "bundled",
        "training.max_steps": 2,
        "training.batch_size": 8,
        "training.warmup_steps": 1,
        "evaluation.every": 2,
        "evaluation.max_examples": 8,
    }
    run = train_recipe(load_recipe(name, [f"{key}={json.dumps(value)}" for key, value in small.items()]))
    results = json.loads((run.path / "results.json").read_text())
    assert {row["task"] for row in results["results"]} == {"mini_cola", "mini_rte"}
    trained = results["parameters"]["trained"]
    assert trained == results["parameters"]["total"] if name.endswith("finetune") else trained > 0
