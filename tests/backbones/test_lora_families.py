"""LoRA on every covered architecture, beside peft's with the same matrices; and whole runs that are exported."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from test_family_runs import SHAPES, hyperformer
from tiny_backbones import DECODER_ONLY, ENCODER_DECODER, adapted, tiny_backbone, token_ids
from torch import Tensor

from hyperformer_cli import AdaptedModel
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.peft.peft_export import peft_lora
from hyperformer_cli.storage.peft import write_peft

CHECKED = ["t5", "bart", "t5gemma", "llama", "qwen3", "gemma3_text", "phi3", "gpt2"]
PROMPTS, TARGETS = token_ids(9, 3, 6, 5), token_ids(2, 3, 1, 2, seed=3)
DEFAULTS = {
    "t5": {"SelfAttention.q", "SelfAttention.v", "EncDecAttention.q", "EncDecAttention.v"},
    "phi3": {"self_attn.qkv_proj"},
    "gpt2": {"attn.c_attn"},
    "gpt_neox": {"attention.query_key_value"},
}


def fresh(model_type: str) -> Any:
    return tiny_backbone(model_type, **({"decoder_start_token_id": 0} if model_type == "t5" else {}))


def lora(model_type: str, **options: Any) -> AdaptedModel:
    """With matrices of a size at which logits move and rounding errors stay small."""
    options = {"form": "lora", "rank": 4, "alpha": 8, "reduction_factor": None, **options}
    model = adapted(fresh(model_type), "adapters", **options)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter *= 0.5
    return model


def logits_of(model: Any, family: Any, backbone: Any, **how: Any) -> Tensor:
    inputs = family.layout.forward_inputs(backbone, family.layout.training_batch(PROMPTS, TARGETS, 0))
    with torch.inference_mode():
        return model(**inputs, **family.layout.forward_options(inputs), **how).logits


def ids_of(model: Any, family: Any, backbone: Any, **how: Any) -> list[list[int]]:
    prompts = family.layout.generation_batch(PROMPTS, 0)
    depths = [family.depth(backbone.config, stack) for stack in family.stacks]
    options = prompts | family.layout.generation_options(prompts, depths)
    return model.generate(**options, **how, max_new_tokens=4, do_sample=False, num_beams=1).tolist()


@pytest.mark.parametrize("model_type", CHECKED)
@pytest.mark.parametrize("targets", [None, "all-linear"])
def test_peft_computes_the_same_with_the_same_matrices(model_type: str, targets: Any, tmp_path: Path) -> None:
    model = lora(model_type, target_modules=targets)
    family, backbone = model.family, model.backbone
    bare = logits_of(fresh(model_type), family, backbone)
    for task in ("cola", "rte"):
        write_peft(tmp_path / task, peft_lora(model, task))
        theirs = PeftModel.from_pretrained(fresh(model_type), tmp_path / task).eval()
        expected, found = logits_of(model, family, backbone, task=task), logits_of(theirs, family, backbone)
        difference = float((expected - found).abs().max())
        print(f"{model_type} {targets}: {difference:.2g}, the adapters move {float((bare - found).abs().max()):.2g}")
        assert difference <= 1e-5 and (bare - found).abs().max() > 0.05
        assert ids_of(model, family, backbone, task=task) == ids_of(theirs, family, backbone)


@pytest.mark.parametrize("model_type", CHECKED)
def test_rows_of_mixed_tasks_and_merged_models_compute_what_each_task_computes(model_type: str) -> None:
    model = lora(model_type)
    family, backbone = model.family, model.backbone
    mixed = logits_of(model, family, backbone, task_ids=[0, 2, 1, 0])
    ids = ids_of(model, family, backbone, task_ids=[0, 2, 1, 0])
    for number, task in enumerate(model.tasks):
        alone, own = logits_of(model, family, backbone, task=task), ids_of(model, family, backbone, task=task)
        merged = logits_of(model.merged(task).eval(), family, backbone)
        torch.testing.assert_close(merged, alone, atol=1e-4, rtol=0)
        for row in (row for row, of in enumerate([0, 2, 1, 0]) if of == number):
            torch.testing.assert_close(mixed[row], alone[row], atol=1e-5, rtol=0)
            shorter = min(len(ids[row]), len(own[row]))
            assert ids[row][:shorter] == own[row][:shorter]


@pytest.mark.parametrize("model_type", [*DECODER_ONLY, *ENCODER_DECODER])
def test_every_architecture_has_query_and_value_projections(model_type: str) -> None:
    options = {"form": "lora", "rank": 4, "reduction_factor": None}
    model = adapted(tiny_backbone(model_type), **options)
    expected = DEFAULTS.get(model_type)
    positions = {site.position for site in model.sites}
    if expected is None and model_type in ENCODER_DECODER:
        expected = DEFAULTS["t5"] if "SelfAttention.q" in positions else positions
        assert len(positions) == 4
    assert positions == (expected or {"self_attn.q_proj", "self_attn.v_proj"})
    layers = sum(model.family.depth(model.backbone.config, stack) for stack in model.family.stacks)
    assert len({(site.stack, site.layer) for site in model.sites}) == layers


def test_a_map_that_a_family_lacks_is_refused_with_the_nearest() -> None:
    for model_type, target, nearest in (("llama", "q_porj", "q_proj"), ("gpt2", "attn.c_atn", "attn.c_attn")):
        with pytest.raises(InputError, match=f"no linear map '{target}' in a {model_type} layer; .*'{nearest}'"):
            lora(model_type, target_modules=[target])


@pytest.mark.parametrize("name", ["llama", "gpt2", "bart"])
def test_a_run_is_trained_exported_and_merged(
    name: str, recipe_values: dict[str, Any], write_recipe: Callable, tmp_path: Path
) -> None:
    recipe_values["model"]["config"] = SHAPES[name]
    recipe_values["adapter"] = {"method": "hyperformer++", "form": "lora", "rank": 4, "target_modules": "all-linear"}
    recipe, run = str(write_recipe(recipe_values)), str(tmp_path / "run")
    hyperformer("train", recipe)
    exported = json.loads(hyperformer("export", run, "--format", "peft", "--json"))
    assert max(task["difference"] for task in exported["tasks"]) <= 1e-5
    assert json.loads((tmp_path / "run/export/peft/cola/adapter_config.json").read_text())["fan_in_fan_out"] is (
        name == "gpt2"
    )
    merged = json.loads(hyperformer("export", run, "--format", "merged", "--task", "mrpc", "--json"))
    assert [task["task"] for task in merged["tasks"]] == ["mrpc"] and merged["tasks"][0]["ids_identical"]
