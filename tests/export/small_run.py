"""Run folders made in a moment, without training: every trained weight random, so that no adapter is near identity."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from transformers import T5Config, T5ForConditionalGeneration

from hyperformer_cli import AdaptedModel
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.config.cells import cell_folder
from hyperformer_cli.config.loading import build_recipe, dump_recipe
from hyperformer_cli.data.loading import load_tokenizer
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.storage.atomic import write_json, write_text

SHAPE = {"vocab_size": 320, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
TASKS = ["cola", "mrpc", "stsb"]
Change = Callable[[dict[str, Any]], None]


def make_backbone(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A tiny T5 as transformers saves it."""
    torch.manual_seed(seed)
    T5ForConditionalGeneration(T5Config(**{**SHAPE, "decoder_start_token_id": 0, **changes})).save_pretrained(folder)
    return folder


def recipe_for(values: dict[str, Any], backbone: Path, method: str = "hyperformer++", **adapter: Any) -> dict[str, Any]:
    """The recipe of tests/conftest.py for a backbone in a folder."""
    if method != "finetune":
        adapter = {"reduction_factor": 4, **adapter}
    model = {"name": str(backbone), "tokenizer": values["model"]["tokenizer"]}
    return {**values, "model": model, "adapter": {"method": method, **adapter}, "tasks": TASKS}


def random_recipe(tokenizer: Path, data: Path, adapter: dict[str, Any], **shape: Any) -> dict[str, Any]:
    """A recipe for a backbone drawn at random, of any model of the T5 family: `shape` may name its model_type."""
    return {
        "name": "random",
        "model": {"init": "random", "tokenizer": str(tokenizer), "config": {**SHAPE, **shape}},
        "adapter": adapter,
        "tasks": TASKS[:2],
        "data": {"source": str(data), "max_source_length": 32},
        "training": {"max_steps": 1, "batch_size": 4, "micro_batch_size": 4},
    }


def make_run(values: dict[str, Any], folder: Path, evaluated: bool = True) -> Path:
    """What training would leave in `folder`, as far as exports read it."""
    recipe = build_recipe({**values, "output_dir": str(folder)})
    run, source = RunFolder(folder), BackboneSource.from_recipe(recipe)
    model = AdaptedModel.attach(load_backbone(source), recipe.adapter, source)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    tokenizer = load_tokenizer(recipe)
    write_text(run.recipe_file, dump_recipe(recipe))
    model.save_pretrained(run.best)
    tokenizer.save_pretrained(run.best)
    if evaluated:
        write_json(run.results_file, results_of(recipe.tasks))
    return folder


def make_cells(values: dict[str, Any], folder: Path) -> Path:
    """A run with one model per task."""
    for task in TASKS:
        make_run({**values, "tasks": [task]}, cell_folder(folder, {"task": task}))
    recipe = build_recipe({**values, "joint": False, "output_dir": str(folder)})
    write_text(folder / "recipe.yaml", dump_recipe(recipe))
    return folder


def results_of(tasks: list[str]) -> dict[str, Any]:
    metrics = {"cola": "matthews_correlation", "mrpc": "accuracy", "stsb": "pearson"}
    scores = [
        {"task": task, "split": split, "metric": metrics[task], "value": 12.34, "majority": 5.67, "examples": 12}
        for task in tasks
        for split in ("validation", "test")
    ]
    return {"name": "tiny", "protocol": "paper", "results": scores, "average": {"test": {"metrics": 12.34}}}


def change_recipe(run: Path, change: Change) -> None:
    values = yaml.safe_load((run / "recipe.yaml").read_text())
    change(values)
    (run / "recipe.yaml").write_text(yaml.safe_dump(values))


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    mask = torch.ones(4, 9, dtype=torch.long)
    mask[1, 5:] = 0
    return {
        "input_ids": torch.randint(3, 300, (4, 9), generator=generator) * mask,
        "attention_mask": mask,
        "labels": torch.randint(3, 300, (4, 3), generator=generator),
    }


def logits_of(model: Any, **how: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(**batch(), **how).logits


def documented_code(readme: Path) -> str:
    """The last block of Python in a README."""
    return re.findall(r"```python\n(.*?)```", readme.read_text(), flags=re.DOTALL)[-1]


def run_code(code: str) -> dict[str, Any]:
    """What a script's names are when it has run."""
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


def tensors_of(file: Path) -> dict[str, torch.Tensor]:
    return load_file(file)


def text_of(folder: Path) -> str:
    """Everything in a folder that is not weights."""
    return "\n".join(p.read_text() for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".safetensors")


def read_json(file: Path) -> Any:
    return json.loads(file.read_text())
