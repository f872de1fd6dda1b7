"""Merged models: plain transformers models that compute what the run computes for one task."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_run import batch, documented_code, make_backbone, make_run, recipe_for, run_code
from transformers import AutoModelForSeq2SeqLM

from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.export.export_run import export_run
from hyperformer_cli.export.merged import merged_export
from hyperformer_cli.runs.opened import OpenedRun

LORA = {"form": "lora", "rank": 4, "alpha": 8, "reduction_factor": None}


@pytest.fixture
def make(recipe_values: dict, tmp_path: Path) -> Callable[..., Path]:
    def make(method: str = "adapters", dtype: str = "float32", shape: dict | None = None, **adapter) -> Path:
        recipe = recipe_for(recipe_values, make_backbone(tmp_path / "tiny-t5", **(shape or {})), method, **adapter)
        recipe["model"]["dtype"] = dtype
        return make_run(recipe, tmp_path / "run")

    return make


@pytest.mark.parametrize("options", [{}, {"method": "hyperformer++", "train_layer_norms": True}], ids=str)
def test_a_merged_model_computes_what_the_run_computes(make: Callable, options: dict, tmp_path: Path) -> None:
    run = make(**LORA, **options)
    folder = export_run(run, "merged", tmp_path / "merged", ["mrpc"]).folder
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = OpenedRun(run).model(**batch(), task="mrpc").logits
        torch.testing.assert_close(model(**batch()).logits, expected, atol=1e-4, rtol=0)
    settings = json.loads((folder / "generation_config.json").read_text())
    assert settings["max_new_tokens"] == 1 and settings["do_sample"] is False and settings.get("use_cache", True)
    code = documented_code(folder / "README.md").replace('folder = "."', f"folder = {str(folder)!r}")
    assert run_code(code)["ids"].shape[0] == 1


def test_a_deeper_decoder_generates_without_a_cache(make: Callable, tmp_path: Path) -> None:
    run = make(**LORA, shape={"num_layers": 1, "num_decoder_layers": 3})
    folder = export_run(run, "merged", tmp_path / "merged", ["mrpc"]).folder
    inputs = {name: tensor for name, tensor in batch().items() if name != "labels"}
    ids = AutoModelForSeq2SeqLM.from_pretrained(folder).eval().generate(**inputs)
    assert ids.tolist() == OpenedRun(run).model.generate(**inputs, task="mrpc", max_new_tokens=1).tolist()


def test_in_bfloat16_the_sums_are_rounded_once_and_the_error_is_said(make: Callable, tmp_path: Path) -> None:
    run = make(**LORA, dtype="bfloat16")
    report = export_run(run, "merged", tmp_path / "merged", ["cola"])
    exact = OpenedRun(run).model.float().merged("cola")
    stored = load_file(report.folder / "model.safetensors")
    name = "encoder.block.1.layer.0.SelfAttention.v.weight"
    assert stored[name].dtype == torch.bfloat16 and torch.equal(stored[name], exact.get_parameter(name).bfloat16())
    moved = max(float((p - p.bfloat16().float()).abs().max()) for _, p in exact.named_parameters())
    assert f"before rounding to bfloat16, which moves a weight by up to {moved:.2g}" in report.tasks[0].inputs


def test_finetuned_models_are_written_as_they_are(make: Callable, tmp_path: Path) -> None:
    run = make("finetune")
    folder = export_run(run, "merged", tmp_path / "merged", ["cola"]).folder
    with torch.inference_mode():
        found = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()(**batch()).logits
        torch.testing.assert_close(found, OpenedRun(run).model(**batch(), task="cola").logits, atol=1e-5, rtol=0)


def test_what_cannot_be_merged_is_refused(make: Callable, tmp_path: Path) -> None:
    run = make("hyperformer++")
    with pytest.raises(InputError, match="'bottleneck' has adapters that cannot be merged"):
        export_run(run, "merged", tasks=["cola"])
    with pytest.raises(InputError, match="choose one with --task: cola, mrpc, stsb"):
        export_run(run, "merged")
    assert not (run / "export").exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_folder_that_computes_something_else_is_not_kept(
    make: Callable, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, right = make(**LORA, dtype=dtype), merged_export.write

    def write(source, folder: Path) -> None:
        right(source, folder)
        tensors = load_file(folder / "model.safetensors")
        name = "encoder.block.1.layer.0.SelfAttention.v.weight"
        save_file({**tensors, name: tensors[name] * 1.5}, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(merged_export, "write", write)
    with pytest.raises(HyperformerError, match="task 'cola' differs"):
        export_run(run, "merged", tmp_path / "merged", ["cola"])
    assert not (tmp_path / "merged").exists()
