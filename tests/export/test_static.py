"""Static exports: the same outputs as the run, here and in plain torch; one file per task; nothing can be added."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import (
    TASKS,
    batch,
    documented_code,
    logits_of,
    make_backbone,
    make_cells,
    make_run,
    read_json,
    recipe_for,
    run_code,
    tensors_of,
    text_of,
)

from hyperformer_cli import AdaptedModel
from hyperformer_cli.errors import InputError
from hyperformer_cli.evaluation.evaluate_run import evaluate_run
from hyperformer_cli.export.export_run import export_run
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.runs.opened import OpenedRun

VARIANTS: dict[str, dict[str, Any]] = {
    "adapters": {"method": "adapters"},
    "adapters, other options": {"method": "adapters", "layer_norm_before": True, "layer_norm_after": False},
    "adapters, shared": {"method": "adapters", "shared_by_tasks": True},
    "layer norms only": {"method": "adapters", "adapter_blocks": False},
    "hyperformer": {"method": "hyperformer", "task_embedding_dim": 16},
    "hyperformer, stored norms": {"method": "hyperformer", "conditional_layer_norm": False, "layer_norm_before": True},
    "hyperformer-shared-layers": {"method": "hyperformer-shared-layers", "non_linearity": "relu"},
    "hyperformer++": {"method": "hyperformer++"},
    "hyperformer++, frozen norms": {"method": "hyperformer++", "train_layer_norms": False},
}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_backbone(tmp_path_factory.mktemp("backbone") / "tiny-t5")


@pytest.fixture
def run(recipe_values: dict, backbone: Path, tmp_path: Path) -> Path:
    return make_run(recipe_for(recipe_values, backbone), tmp_path / "run")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_export_and_its_documented_code_compute_what_the_run_computes(
    variant: str, recipe_values: dict, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(recipe_for(recipe_values, backbone, **VARIANTS[variant]), tmp_path / "run")
    report = export_run(run, "static", tmp_path / "static")
    assert [(task.task, task.ids_identical) for task in report.tasks] == [(task, True) for task in TASKS]
    assert max(task.difference for task in report.tasks) <= 1e-6
    trained, static = (AdaptedModel.from_pretrained(path).eval() for path in (run / "best", report.folder))
    expected = {task: logits_of(trained, task=task) for task in TASKS}
    for task in TASKS:
        assert (logits_of(static, task=task) - expected[task]).abs().max() <= 1e-6
    mixed = {"task_ids": [2, 0, 1, 0]}
    torch.testing.assert_close(logits_of(static, **mixed), logits_of(trained, **mixed), atol=2e-5, rtol=0)
    assert all(name.endswith("layer_norm.weight") for name in static.trained_parameters())

    code = documented_code(report.folder / "README.md")
    assert "hyperformer_cli" not in code and len([line for line in code.splitlines() if line]) <= 34
    monkeypatch.chdir(report.folder)
    plain = run_code(code)
    assert (logits_of(plain["model"]) - expected["cola"]).abs().max() <= 1e-6
    ids = trained.generate(**plain["inputs"], task="cola", max_new_tokens=plain["about"]["max_new_tokens"])
    assert plain["ids"].tolist() == ids.tolist()


def test_a_tasks_file_holds_the_adapter_of_every_site(run: Path) -> None:
    folder = export_run(run, "static").folder
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "adapters", "hyperformer.json", "layer_norms.safetensors", "manifest.json", "recipe.yaml",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    trained = AdaptedModel.from_pretrained(run / "best")
    tensors = tensors_of(folder / "adapters" / "stsb.safetensors")
    assert len(tensors) == 8 * 6
    for site, weights in trained.adapter_weights("stsb").items():
        for name, expected in weights.named_tensors().items():
            assert torch.equal(tensors.pop(f"{site.stack}.{site.layer}.{site.position}.{name}"), expected)
    assert not tensors
    norms = tensors_of(folder / "layer_norms.safetensors")
    assert norms.keys() == {n for n, _ in trained.backbone.named_parameters() if n.endswith("layer_norm.weight")}
    about = read_json(folder / "adapters" / "mrpc.json")
    assert about["input"] == "sentence1: {sentence1} sentence2: {sentence2}" and about["labels"] == ["0", "1"]


def test_plain_code_is_left_out_where_none_is_written_for_the_form(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExportSource, "form", "lora")
    readme = (export_run(run, "static").folder / "README.md").read_text()
    assert readme.count("```python") == 1 and "AdaptedModel.from_pretrained" in readme
    assert readme.rstrip().endswith("add them to the run it was exported from.")


def test_only_the_chosen_tasks_are_exported(run: Path) -> None:
    report = export_run(run, "static", tasks=["stsb", "cola"])
    assert {path.stem for path in (report.folder / "adapters").iterdir()} == {"cola", "stsb"}
    model = AdaptedModel.from_pretrained(report.folder).eval()
    assert model.tasks == ["cola", "stsb"]
    trained = AdaptedModel.from_pretrained(run / "best").eval()
    torch.testing.assert_close(logits_of(model, task="stsb"), logits_of(trained, task="stsb"), atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="no task 'mrpc'"):
        model(**batch(), task="mrpc")


def test_tasks_cannot_be_added_to_a_static_export(run: Path) -> None:
    model = AdaptedModel.from_pretrained(export_run(run, "static").folder)
    with pytest.raises(InputError, match=r"cannot be added or removed.*no hypernetwork.*run's model"):
        model.add_task("paws", init_from="mrpc")


def test_a_static_model_is_saved_as_one(run: Path, tmp_path: Path) -> None:
    model = AdaptedModel.from_pretrained(export_run(run, "static").folder).eval()
    model.save_pretrained(tmp_path / "again")
    again = AdaptedModel.from_pretrained(tmp_path / "again").eval()
    assert torch.equal(logits_of(again, task="mrpc"), logits_of(model, task="mrpc"))


def test_a_static_export_can_be_evaluated_and_exported_again(run: Path, tmp_path: Path) -> None:
    folder = export_run(run, "static").folder
    assert (
        evaluate_run(OpenedRun(folder), ["test"], ["mrpc"])["results"]
        == evaluate_run(OpenedRun(run), ["test"], ["mrpc"])["results"]
    )
    assert export_run(folder, "static", tmp_path / "one", ["cola"]).tasks[0].difference == 0
    with pytest.raises(InputError, match="give the run"):
        export_run(folder, "hub")


def test_a_backbone_in_bfloat16_stays_one(
    recipe_values: dict, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = recipe_for(recipe_values, backbone)
    values["model"]["dtype"] = "bfloat16"
    run = make_run(values, tmp_path / "run")
    folder = export_run(run, "static").folder
    trained, static = (AdaptedModel.from_pretrained(path) for path in (run / "best", folder))
    assert static.backbone.shared.weight.dtype == torch.bfloat16
    monkeypatch.chdir(folder)
    plain = run_code(documented_code(folder / "README.md"))
    expected = logits_of(trained.float().eval(), task="cola")
    assert (logits_of(plain["model"]) - expected).abs().max() <= 1e-6


def test_a_decoder_deeper_than_the_encoder(
    recipe_values: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = make_backbone(tmp_path / "t5", num_decoder_layers=3)
    run = make_run(recipe_for(recipe_values, backbone), tmp_path / "run")
    folder = export_run(run, "static").folder
    monkeypatch.chdir(folder)
    plain = run_code(documented_code(folder / "README.md"))
    trained = AdaptedModel.from_pretrained(run / "best").eval()
    assert (logits_of(plain["model"]) - logits_of(trained, task="cola")).abs().max() <= 1e-6


def test_a_run_with_one_model_per_task_makes_one_folder_per_task(
    recipe_values: dict, backbone: Path, tmp_path: Path
) -> None:
    run = make_cells(recipe_for(recipe_values, backbone, "adapters"), tmp_path / "run")
    report = export_run(run, "static", tmp_path / "static", ["cola", "stsb"])
    assert {path.name for path in report.folder.iterdir()} == {"cola", "stsb"}
    assert [task.task for task in report.tasks] == ["cola", "stsb"] and "cola/hyperformer.json" in report.files
    trained = AdaptedModel.from_pretrained(run / "cells" / "task=stsb" / "best").eval()
    static = AdaptedModel.from_pretrained(report.folder / "stsb").eval()
    assert torch.equal(logits_of(static, task="stsb"), logits_of(trained, task="stsb"))


def test_finetune_has_no_adapters_to_export(recipe_values: dict, backbone: Path, tmp_path: Path) -> None:
    run = make_run(recipe_for(recipe_values, backbone, "finetune"), tmp_path / "run")
    with pytest.raises(InputError, match=r"finetune has no adapters.*--format hub.*backbone\.save_pretrained"):
        export_run(run, "static")
    assert not (run / "export").exists()


@pytest.mark.parametrize("damage", ["truncate", "remove", "rename", "norms", "backbone"])
def test_what_is_damaged_is_named(damage: str, run: Path, tmp_path: Path) -> None:
    folder = export_run(run, "static").folder
    file = folder / "adapters" / "mrpc.safetensors"
    given = None
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-40])
    elif damage == "remove":
        file.unlink()
    elif damage == "rename":
        (folder / "layer_norms.safetensors").replace(file)
    elif damage == "norms":
        (folder / "layer_norms.safetensors").write_bytes(b"short")
    else:
        from transformers import T5ForConditionalGeneration

        given = T5ForConditionalGeneration.from_pretrained(make_backbone(tmp_path / "other", d_ff=48))
    message = {"norms": "layer_norms.safetensors", "backbone": "another configuration"}.get(damage, "mrpc.safetensors")
    with pytest.raises(InputError, match=message):
        AdaptedModel.from_pretrained(folder, given)


def test_adapters_of_another_shape_are_refused(run: Path) -> None:
    folder = export_run(run, "static").folder
    description = json.loads((folder / "hyperformer.json").read_text())
    description["adapter"]["reduction_factor"] = 8
    (folder / "hyperformer.json").write_text(json.dumps(description))
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"cola\.safetensors: .*down_weight has shape \[8, 32\], not \[4, 32\]"):
        AdaptedModel.from_pretrained(folder)


@pytest.mark.parametrize(("key", "value"), [("format_version", 99), ("non_linearity", "relu")])
def test_a_tasks_description_must_say_what_the_folders_does(key: str, value: object, run: Path, tmp_path: Path) -> None:
    folder = export_run(run, "static", tmp_path / "static").folder
    file = folder / "adapters" / f"{TASKS[0]}.json"
    file.write_text(json.dumps({**read_json(file), key: value}))
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=f"{TASKS[0]}.json: {key} is {value!r}"):
        AdaptedModel.from_pretrained(folder)


def test_a_backbone_that_moved_can_be_named(recipe_values: dict, tmp_path: Path) -> None:
    make_backbone(tmp_path / "before")
    run = make_run(recipe_for(recipe_values, tmp_path / "before"), tmp_path / "run")
    folder = export_run(run, "static", tmp_path / "static").folder
    expected = evaluate_run(OpenedRun(run))["results"]
    (tmp_path / "before").rename(tmp_path / "after")
    with pytest.raises(InputError, match="before"):
        evaluate_run(OpenedRun(folder))
    for path in (run, folder):
        assert evaluate_run(OpenedRun(path, backbone=tmp_path / "after"))["results"] == expected
    for format in ("static", "hub"):
        exported = export_run(run, format, tmp_path / f"moved-{format}", backbone=tmp_path / "after")
        assert all(task.difference == 0 for task in exported.tasks)
    assert str(tmp_path / "before") not in text_of(tmp_path / "moved-hub")
    make_backbone(tmp_path / "other", seed=7)
    with pytest.raises(InputError, match="frozen weights are not those"):
        evaluate_run(OpenedRun(run, backbone=tmp_path / "other"))
