"""LoRA folders as a run: those that peft wrote, with what peft computes as the truth."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from small_run import TASKS, batch, make_backbone, recipe_for
from transformers import AutoModelForSeq2SeqLM
from typer.testing import CliRunner

from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.convert.peft_folders import convert_peft
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.export_run import export_run
from hyperformer_cli.runs.opened import OpenedRun


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    return make_backbone(tmp_path / "tiny-t5")


@pytest.fixture
def recipe(recipe_values: dict, backbone: Path) -> Any:
    return build_recipe(recipe_for(recipe_values, backbone))


def write_lora(backbone: Path, folder: Path, seed: int, **options) -> Path:
    """What peft saves of a LoRA with random weights."""
    torch.manual_seed(seed)
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["q", "v"], **options})
    model = get_peft_model(AutoModelForSeq2SeqLM.from_pretrained(backbone), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


def logits_of_peft(backbone: Path, folder: Path) -> torch.Tensor:
    model = PeftModel.from_pretrained(AutoModelForSeq2SeqLM.from_pretrained(backbone), folder).eval()
    with torch.inference_mode():
        return model(**batch()).logits


PLAIN: dict[str, Any] = {}
PATTERNS = {"rank_pattern": {"decoder.*.q": 2}, "alpha_pattern": {"encoder.*.v": 3}}
DIFFERENT = [
    {"r": 2, "lora_alpha": 16, "target_modules": ["wo"]},
    {"use_rslora": True},
    {**PATTERNS, "target_modules": "all-linear"},
]


@pytest.mark.parametrize("options", [[PLAIN] * 3, DIFFERENT], ids=["plain", "different"])
def test_a_run_of_lora_folders_computes_what_peft_computes(
    options: list[dict], backbone: Path, recipe: Any, tmp_path: Path
) -> None:
    for number, (task, own) in enumerate(zip(TASKS, options, strict=True)):
        write_lora(backbone, tmp_path / "loras" / task, number, **own)
    run = convert_peft(tmp_path / "loras", recipe, tmp_path / "run")
    model = OpenedRun(run.path).model
    assert (model.config.method, model.config.form, model.config.rank) == ("adapters", "lora", 4)
    with torch.inference_mode():
        mixed = model(**batch(), task_ids=[0, 1, 2, 1]).logits
        for task in TASKS:
            expected = logits_of_peft(backbone, tmp_path / "loras" / task)
            torch.testing.assert_close(model(**batch(), task=task).logits, expected, atol=1e-5, rtol=0)
            for row in (row for row, of in enumerate((0, 1, 2, 1)) if TASKS[of] == task):
                torch.testing.assert_close(mixed[row], expected[row], atol=1e-5, rtol=0)


def test_an_export_comes_back_as_it_was(backbone: Path, recipe: Any, tmp_path: Path) -> None:
    for number, task in enumerate(TASKS):
        write_lora(backbone, tmp_path / "loras" / task, number)
    run = convert_peft(tmp_path / "loras", recipe, tmp_path / "run")
    loras, exported = tmp_path / "loras", export_run(run.path, "peft").folder
    for task in TASKS:
        before, after = (load_file(folder / task / "adapter_model.safetensors") for folder in (loras, exported))
        assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_commands_take_such_a_run(backbone: Path, recipe_values: dict, write_recipe: Callable, tmp_path: Path) -> None:
    for number, task in enumerate(TASKS):
        write_lora(backbone, tmp_path / "loras" / task, number)
    recipe, run = write_recipe(recipe_for(recipe_values, backbone)), str(tmp_path / "run")
    rows = "".join(
        json.dumps({"task": task, "sentence": "the cat", "sentence1": "the cat", "sentence2": "a dog"}) + "\n"
        for task in ("cola", "mrpc", "cola", "stsb")
    )
    calls = [
        (["convert", str(tmp_path / "loras"), "--recipe", str(recipe), "--to", run], None),
        (["eval", run, "--json", "--save"], None),
        (["predict", run], rows),
        (["report", run], None),
        (["eval", run, "--save"], None),
    ]
    results = [CliRunner().invoke(app, arguments, input=stdin) for arguments, stdin in calls]
    assert [result.exit_code for result in results] == [0, 0, 0, 0, 2], [result.stderr for result in results]
    assert [json.loads(line)["task"] for line in results[2].stdout.splitlines()] == ["cola", "mrpc", "cola", "stsb"]
    assert "mrpc" in results[3].stdout and "the run has results" in results[4].stderr


def change_config(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


def change_tensors(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        file = folder / "adapter_model.safetensors"
        save_file(change(load_file(file)), file)

    return rewrite


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (change_config(use_dora=True), "use_dora: true"),
        (change_config(modules_to_save=["lm_head"]), "modules_to_save"),
        (change_config(bias="lora_only"), "bias 'lora_only'"),
        (change_config(lora_bias=True), "lora_bias"),
        (change_config(init_lora_weights="pissa"), "init_lora_weights 'pissa'"),
        (change_config(layer_replication=[[0, 2]]), "layer_replication"),
        (change_config(trainable_token_indices=[3]), "trainable_token_indices"),
        (change_config(peft_type="IA3"), "only LORA"),
        (change_config(r=8), "has rank 4, adapter_config.json says 8"),
        (change_config(r=None), "missing or damaged"),
        (change_config(base_model_name_or_path="Qwen/Qwen3-0.6B"), "LoRA of 'Qwen/Qwen3-0.6B'.*tiny-t5"),
        (change_tensors(lambda t: {n.replace("block.1.", "block.7."): v for n, v in t.items()}), "another model"),
        (change_tensors(lambda t: {n: v[:, :16].clone() if "A" in n else v for n, v in t.items()}), "another model"),
        (change_tensors(lambda t: dict(list(t.items())[1:])), "do not|does not have a lora_A and a lora_B"),
        (change_tensors(lambda t: {**t, "base_model.model.shared.lora_embedding_A": torch.ones(1)}), "not a matrix"),
        (change_tensors(lambda t: {n: v * float("nan") for n, v in t.items()}), "not finite"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "missing or damaged"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "no PEFT folder of task 'mrpc'"),
    ],
)  # fmt: skip
def test_what_is_not_a_plain_lora_of_the_backbone_is_refused(
    spoil: Callable[[Path], None], complaint: str, backbone: Path, recipe: Any, tmp_path: Path
) -> None:
    loras = tmp_path / "loras"
    for number, task in enumerate(TASKS):
        write_lora(backbone, loras / task, number)
    spoil(loras / "mrpc")
    with pytest.raises(InputError, match=complaint):
        convert_peft(loras, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_lora_is_not_taken_for_several_tasks(backbone: Path, recipe: Any, tmp_path: Path) -> None:
    lora = write_lora(backbone, tmp_path / "lora", 0)
    with pytest.raises(InputError, match="one LoRA, and the recipe has 3 tasks"):
        convert_peft(lora, recipe)
    alone = build_recipe({**recipe.as_dict(), "tasks": ["mrpc"]})
    model = OpenedRun(convert_peft(lora, alone, tmp_path / "run").path).model
    with torch.inference_mode():
        torch.testing.assert_close(
            model(**batch(), task="mrpc").logits, logits_of_peft(backbone, lora), atol=1e-5, rtol=0
        )


def test_a_shared_lora_stays_shared(recipe_values: dict, backbone: Path, tmp_path: Path) -> None:
    values = recipe_for(recipe_values, backbone, "adapters", shared_by_tasks=True)
    recipe = build_recipe(values)
    for task in TASKS:
        write_lora(backbone, tmp_path / "loras" / task, 0)
    run = OpenedRun(convert_peft(tmp_path / "loras", recipe, tmp_path / "run").path)
    assert run.model.config.needs_task_prefix  # without it, inputs would be others than in training
    write_lora(backbone, tmp_path / "loras" / "stsb", 1)
    with pytest.raises(InputError, match="'stsb' is not that of 'cola'"):
        convert_peft(tmp_path / "loras", recipe, tmp_path / "other")
