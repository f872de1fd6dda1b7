"""Whole runs on tiny random models of other families than T5's: train, eval, predict."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hyperformer_cli.cli.main import app

IDS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
LAYERS = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip
BART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64,
    "decoder_start_token_id": 1, "forced_eos_token_id": 1,
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "vocab_size": 320, **LAYERS, **IDS},
    "gpt2": {"model_type": "gpt2", "vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 4, **IDS},
    "bart": {"model_type": "bart", "vocab_size": 320, **BART, **IDS},
    "t5gemma": {
        "model_type": "t5gemma", "vocab_size": 320, **IDS,
        "encoder": {"vocab_size": 320, **LAYERS, **IDS}, "decoder": {"vocab_size": 320, **LAYERS, **IDS},
    },
}  # fmt: skip


def hyperformer(*arguments: str, stdin: str | None = None) -> str:
    result = CliRunner().invoke(app, arguments, input=stdin)
    assert result.exit_code == 0, (result.exception, result.stderr)
    return result.stdout


@pytest.mark.parametrize("name", SHAPES)
def test_a_run(name: str, recipe_values: dict[str, Any], write_recipe: Callable, tmp_path: Path) -> None:
    recipe_values["model"]["config"] = SHAPES[name]
    recipe, run = str(write_recipe(recipe_values)), str(tmp_path / "run")
    planned = json.loads(hyperformer("train", recipe, "--dry-run", "--json"))
    hyperformer("train", recipe)
    trained = json.loads((tmp_path / "run" / "results.json").read_text())
    assert trained["parameters"] == planned["parameters"]
    assert {row["task"] for row in trained["results"]} == {"cola", "mrpc", "stsb", "mnli"}
    assert json.loads(hyperformer("eval", run, "--json"))["results"] == trained["results"]
    rows = [{"task": "cola", "sentence": "the old cat sees"}, {"task": "stsb", "sentence1": "a", "sentence2": "a dog"}]
    answers = [
        json.loads(line) for line in hyperformer("predict", run, stdin="\n".join(map(json.dumps, rows))).splitlines()
    ]
    assert [answer["task"] for answer in answers] == ["cola", "stsb"]
    assert sum(answers[0]["scores"].values()) == pytest.approx(1, abs=1e-3)
