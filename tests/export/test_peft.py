"""LoRA folders for PEFT: what a run computes is what peft computes with its export."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForSeq2SeqLM, PeftModel
from safetensors.torch import load_file, save_file
from small_run import TASKS, batch, make_backbone, make_cells, make_run, recipe_for
from transformers import AutoModelForSeq2SeqLM

from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.export import export_run as export_module
from hyperformer_cli.export.export_run import export_run
from hyperformer_cli.export.peft import peft_export
from hyperformer_cli.export.verification import NEW_TOKENS
from hyperformer_cli.runs.opened import OpenedRun

LORA = {"form": "lora", "rank": 4, "alpha": 8, "reduction_factor": None}


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    return make_backbone(tmp_path / "tiny-t5")


@pytest.fixture
def make(recipe_values: dict, backbone: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "run", method: str = "hyperformer++", **adapter) -> Path:
        return make_run(recipe_for(recipe_values, backbone, method, **{**LORA, **adapter}), tmp_path / name)

    return make


@pytest.mark.parametrize("method", ["adapters", "hyperformer", "hyperformer-shared-layers", "hyperformer++"])
@pytest.mark.parametrize("targets", [None, "all-linear", ["EncDecAttention.q", "wo"]])
def test_peft_computes_what_the_run_computes(make: Callable, backbone: Path, method: str, targets) -> None:
    run = make(method=method, target_modules=targets)
    report = export_run(run, "peft")
    model = OpenedRun(run).model
    assert [one.task for one in report.tasks] == TASKS and max(one.difference for one in report.tasks) <= 1e-5
    inputs = {name: tensor for name, tensor in batch().items() if name != "labels"}
    limits = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
    plain = AutoModelForSeq2SeqLM.from_pretrained(backbone).eval()
    with torch.inference_mode():
        bare = plain(**batch()).logits
    loaded = PeftModel.from_pretrained(plain, report.folder / "cola", adapter_name="cola")
    for task in TASKS[1:]:
        loaded.load_adapter(report.folder / task, adapter_name=task)
    for task in TASKS:
        loaded.set_adapter(task)
        with torch.inference_mode():
            expected, found = model(**batch(), task=task).logits, loaded.eval()(**batch()).logits
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        assert (bare - expected).abs().max() > 0.05
        ours, theirs = model.generate(**inputs, task=task, **limits), loaded.generate(**inputs, **limits)
        assert ours.tolist() == theirs.tolist()


def test_the_files_are_those_that_peft_and_vllm_read(make: Callable, backbone: Path) -> None:
    folder = export_run(make(), "peft", tasks=["mrpc"]).folder
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "mrpc"]
    config = json.loads((folder / "mrpc" / "adapter_config.json").read_text())
    assert config.items() >= {
        "r": 4, "lora_alpha": 8, "target_modules": ["q", "v"], "task_type": "SEQ_2_SEQ_LM", "use_rslora": False,
        "use_dora": False,
    }.items()  # fmt: skip
    assert config["modules_to_save"] is None and config["rank_pattern"] == {} and config["bias"] == "none"
    tensors = load_file(folder / "mrpc" / "adapter_model.safetensors")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes["base_model.model.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight"] == (4, 32)
    assert shapes["base_model.model.decoder.block.1.layer.1.EncDecAttention.v.lora_B.weight"] == (32, 4)
    assert len(shapes) == 2 * 2 * (2 + 2 * 2)
    loaded = AutoPeftModelForSeq2SeqLM.from_pretrained(folder / "mrpc")
    assert loaded.peft_config["default"].base_model_name_or_path == str(backbone)


def test_the_card_has_code_that_runs(make: Callable, capsys: pytest.CaptureFixture) -> None:
    folder = export_run(make(), "peft", tasks=["mrpc"]).folder
    card = (folder / "mrpc" / "README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)[0]
    exec(compile(code.replace('"mrpc"', repr(str(folder / "mrpc"))), "README.md", "exec"), {})
    assert capsys.readouterr().out.endswith("\n") and "rank 4, alpha 8, on `q`, `v`" in card
    assert "`sentence1: {sentence1} sentence2: {sentence2}`" in card


def test_names_are_as_short_as_they_can_be(make: Callable) -> None:
    run = make(target_modules=["EncDecAttention.q", "wo"])
    config = json.loads((export_run(run, "peft").folder / "cola" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["DenseReluDense.wo", "EncDecAttention.q"]


def test_one_model_per_task_becomes_one_folder_per_task(recipe_values: dict, backbone: Path, tmp_path: Path) -> None:
    cells = make_cells(recipe_for(recipe_values, backbone, "adapters", **LORA), tmp_path / "cells")
    folder = export_run(cells, "peft").folder
    assert all((folder / task / "adapter_config.json").is_file() for task in TASKS)


def test_trained_layer_norms_go_into_a_backbone_folder(make: Callable, backbone: Path) -> None:
    run = make(train_layer_norms=True)
    with pytest.raises(InputError, match=r"layer norms.*--with-backbone"):
        export_run(run, "peft")
    folder = export_run(run, "peft", with_backbone=True).folder
    model = OpenedRun(run).model
    loaded = PeftModel.from_pretrained(AutoModelForSeq2SeqLM.from_pretrained(folder / "backbone"), folder / "stsb")
    plain = PeftModel.from_pretrained(AutoModelForSeq2SeqLM.from_pretrained(backbone), folder / "stsb").eval()
    with torch.inference_mode():
        expected = model(**batch(), task="stsb").logits
        torch.testing.assert_close(loaded.eval()(**batch()).logits, expected, atol=1e-5, rtol=0)
        assert (plain(**batch()).logits - expected).abs().max() > 0.1


def test_other_runs_are_refused(recipe_values: dict, backbone: Path, tmp_path: Path) -> None:
    for method, reason in (("hyperformer++", "has bottleneck adapters"), ("finetune", "has no adapters")):
        run = make_run(recipe_for(recipe_values, backbone, method), tmp_path / method)
        with pytest.raises(InputError, match=reason):
            export_run(run, "peft")
    with pytest.raises(InputError, match="only --format peft"):
        export_run(run, "static", with_backbone=True)


@pytest.mark.parametrize("with_peft", [True, False])
def test_a_folder_that_computes_something_else_is_not_kept(
    make: Callable, monkeypatch: pytest.MonkeyPatch, with_peft: bool
) -> None:
    """Both checks, with peft and without, pass what is right and see what is wrong."""
    run = make()
    if not with_peft:
        monkeypatch.setattr(peft_export, "find_spec", lambda name: None)
    export_run(run, "peft", run.parent / "right")
    right = peft_export.write

    def write(source, folder: Path) -> None:
        right(source, folder)
        file = folder / "mrpc" / "adapter_model.safetensors"
        tensors = load_file(file)
        name = "base_model.model.decoder.block.1.layer.1.EncDecAttention.v.lora_B.weight"
        save_file({**tensors, name: tensors[name] + 0.01}, file)

    monkeypatch.setattr(export_module.FORMATS["peft"].load(), "write", write)
    with pytest.raises(HyperformerError, match="task 'mrpc' differs"):
        export_run(run, "peft", run.parent / "wrong")
    assert not (run.parent / "wrong").exists()
