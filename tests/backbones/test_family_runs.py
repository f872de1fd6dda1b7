"""Whole runs on tiny random models of other families than T5's, through every command."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_backbones import TASKS, tiny_backbone, token_ids
from torch import Tensor, nn
from typer.testing import CliRunner

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.cli.main import app
from hyperformer_cli.engine.loss import batch_losses
from hyperformer_cli.errors import InputError

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


ROWS = [
    {"id": 1, "task": "cola", "sentence": "the old cat sees"},
    {"id": 2, "task": "stsb", "sentence1": "a dog", "sentence2": "a child finds the old tree slowly not happy"},
    {"id": 3, "task": "mrpc", "sentence1": "the dog likes", "sentence2": "the"},
    {"id": 4, "task": "cola", "sentence": "a"},
]


def invoke(*arguments: object, stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def hyperformer(*arguments: object, stdin: str | None = None) -> str:
    result = invoke(*arguments, stdin=stdin)
    assert result.exit_code == 0, (result.exception, result.stderr)
    return result.stdout


def predictions(run: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out = hyperformer("predict", run, stdin="".join(json.dumps(row) + "\n" for row in rows))
    return [json.loads(line) for line in out.splitlines()]


def readme_code(folder: Path) -> str:
    return (folder / "README.md").read_text().split("```python\n")[-1].split("```")[0]


def check_readme(exported: Path, run: Path) -> None:
    """Runs an export's code beside the run's own model; that of a static export is torch and transformers alone."""
    model, found = AdaptedModel.from_pretrained(run / "best").eval(), {}
    load_backbone(model.source).save_pretrained(exported / "backbone")
    code = readme_code(exported).replace('"path/to/backbone"', f"{str(exported / 'backbone')!r}")
    assert ("hyperformer_cli" in code) == (exported.name == "hub")
    with contextlib.chdir(exported), contextlib.redirect_stdout(io.StringIO()):
        exec(code, found)
    new = found["ids"].shape[1] - (found["inputs"]["input_ids"].shape[1] if model.family.layout.joins_target else 1)
    expected = model.generate(**found["inputs"], task="cola", max_new_tokens=new, do_sample=False)
    assert new > 0 and found["ids"].tolist() == expected.tolist()


@pytest.mark.parametrize("name", SHAPES)
def test_every_command(
    name: str, recipe_values: dict[str, Any], write_recipe: Callable, tmp_path: Path, data_folder: Path
) -> None:
    recipe_values["model"]["config"] = SHAPES[name]
    recipe_values["tasks"] = ["cola", "stsb", "mrpc"]
    recipe, run = write_recipe(recipe_values), tmp_path / "run"
    planned = json.loads(hyperformer("train", recipe, "--dry-run", "--json"))
    hyperformer("train", recipe)
    trained = json.loads((run / "results.json").read_text())
    assert trained["parameters"] == planned["parameters"]
    assert {row["task"] for row in trained["results"]} == {"cola", "stsb", "mrpc"}
    assert json.loads(hyperformer("eval", run, "--json"))["results"] == trained["results"]
    assert name in hyperformer("count-params", recipe) or "tiny" in hyperformer("count-params", recipe)
    assert "tiny" in hyperformer("report", run)

    together = predictions(run, ROWS)
    assert [answer["id"] for answer in together] == [1, 2, 3, 4]
    for row, answer in zip(ROWS, together, strict=True):
        (alone,) = predictions(run, [row])
        assert alone.pop("scores", {}) == pytest.approx(answer.pop("scores", {}), abs=2e-4)
        assert alone == answer

    for exported in ("static", "hub"):
        hyperformer("export", run, "--format", exported, "--to", tmp_path / exported)
    assert predictions(tmp_path / "static", ROWS) == predictions(run, ROWS)
    check_readme(tmp_path / "static", run)
    check_readme(tmp_path / "hub", run)
    for refused in ("onnx", "adapterhub"):
        result = invoke("export", run, "--format", refused, "--to", tmp_path / refused)
        assert result.exit_code == 2 and f"--format {refused}: " in result.stderr, result.stderr

    transfer = ("--target-tasks", "mnli", "--shots", "6", "--seeds", "1", "--init-from", "auto")
    transfer += ("--set", "fewshot.max_steps=2", "--output-dir", str(tmp_path / "few"), "--json")
    found = json.loads(hyperformer("fewshot", run, *transfer))
    assert found["results"]

    whole = (run / "last" / "hyperformer.safetensors").read_bytes()
    shutil.rmtree(run / "last")
    shutil.rmtree(run / "checkpoint-12")
    (run / "results.json").unlink()
    assert "continuing after step 8" in invoke("train", recipe).stderr
    assert (run / "last" / "hyperformer.safetensors").read_bytes() == whole


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "changes",
    [
        ("model.dtype=bfloat16", "model.gradient_checkpointing=true"),
        ("training.precision=bfloat16", "data.sampling.mixed_batches=true"),
        ("adapter={method: finetune}", "model.gradient_checkpointing=true"),
        ("adapter={method: adapters, adapter_blocks: false}", "evaluation.num_beams=3"),
    ],
    ids=["bf16-weights", "bf16-autocast", "finetune", "norms"],
)
def test_variants_train(
    name: str, changes: tuple[str, ...], recipe_values: dict[str, Any], write_recipe: Callable, tmp_path: Path
) -> None:
    recipe_values["model"]["config"] = SHAPES[name]
    recipe_values["tasks"] = ["cola", "stsb"]
    hyperformer("train", write_recipe(recipe_values), "training.max_steps=2", "evaluation.max_examples=4", *changes)
    assert len(predictions(tmp_path / "run", ROWS[:2])) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t5", "llama"])
def test_compiled_steps_are_the_same_steps(
    name: str, recipe_values: dict[str, Any], write_recipe: Callable, tmp_path: Path
) -> None:
    t5 = {**recipe_values["model"]["config"], "dropout_rate": 0.0}
    recipe_values["model"]["config"] = {"t5": t5, **SHAPES}[name]
    recipe = write_recipe({**recipe_values, "tasks": ["cola", "stsb"]})
    weights = []
    for compiled in ("false", "true"):
        run = tmp_path / compiled
        few = ("training.max_steps=3", "evaluation.max_examples=4", f"training.compile={compiled}")
        hyperformer("train", recipe, *few, f"output_dir={run}")
        weights.append(load_file(run / "last" / "hyperformer.safetensors"))
    for key, weight in weights[0].items():
        torch.testing.assert_close(weights[1][key], weight, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model_type", ["llama", "gemma3_text", "bart", "t5gemma"])
def test_checkpointing_recomputes_the_same_gradients(model_type: str) -> None:
    batch, gradients = None, []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        config = AdapterConfig(method="hyperformer++", tasks=TASKS, reduction_factor=4)
        model = AdaptedModel.attach(tiny_backbone(model_type), config).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        batch = model.family.layout.training_batch(token_ids(7, 3, 5), token_ids(2, 3, 1, seed=3), pad_id=0)
        batch_losses(model, batch, [0, 2, 1]).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.trained_parameters().items()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-5)


class Int8Linear(nn.Module):
    """A linear map with its weights rounded to whole numbers, as libraries for quantised models have them."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        scale = linear.weight.detach().abs().amax(dim=1, keepdim=True) / 127
        self.weight = nn.Parameter((linear.weight.detach() / scale).round().to(torch.int8), requires_grad=False)
        self.register_buffer("scale", scale)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ (self.weight.to(inputs.dtype) * self.scale.to(inputs.dtype)).T


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_quantised_weights_stay_what_they_are(dtype: str, tmp_path: Path) -> None:
    def quantized() -> Any:
        backbone = tiny_backbone("llama")
        for layer in backbone.model.layers:
            for name in ("gate_proj", "up_proj", "down_proj"):
                setattr(layer.mlp, name, Int8Linear(getattr(layer.mlp, name)))
        return backbone

    config = AdapterConfig(method="hyperformer++", tasks=TASKS, reduction_factor=4)
    model = AdaptedModel.attach(quantized(), config, BackboneSource(None, dtype=dtype))
    weight = model.backbone.model.layers[0].mlp.up_proj.weight
    before = weight.clone()
    optimizer = torch.optim.SGD(model.trained_parameters().values(), lr=0.1)
    batch = model.family.layout.training_batch(token_ids(7, 3, 5), token_ids(2, 3, 1, seed=3), pad_id=0)
    losses = []
    for _ in range(6):
        loss = batch_losses(model.train(), batch, [0, 2, 1]).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert weight.dtype == torch.int8 and torch.equal(weight, before) and losses[-1] < losses[0]
    frozen = {p.dtype for p in model.backbone.parameters() if not p.requires_grad}
    assert frozen == {torch.int8, getattr(torch, dtype)}
    assert {parameter.dtype for parameter in model.trained_parameters().values()} == {torch.float32}
    model.save_pretrained(tmp_path)
    again = AdaptedModel.from_pretrained(tmp_path, quantized())
    assert torch.equal(batch_losses(again.eval(), batch, [0, 2, 1]), batch_losses(model.eval(), batch, [0, 2, 1]))
    with pytest.raises(InputError, match="is quantised and cannot be trained"):
        AdaptedModel.attach(quantized(), AdapterConfig(method="finetune", tasks=TASKS))
