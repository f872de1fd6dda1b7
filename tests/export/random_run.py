"""A run folder that was not trained: every trained weight random, so that no adapter is near the identity."""

from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoTokenizer

from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.training.setup import build_model

TASKS = ["cola", "mrpc"]


def make_run(folder: Path, tokenizer_folder: Path, data_folder: Path, adapter: dict[str, Any], **shape: Any) -> Path:
    """Writes what an export reads: the recipe, the best weights, the tokenizer.

    Args:
        folder: a new one.
        tokenizer_folder, data_folder: the fixtures of that name.
        adapter: the recipe's adapter section.
        shape: changes to a T5 of 32 units.
    """
    config = {"vocab_size": 320, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2, **shape}
    values = {
        "name": "random",
        "model": {"init": "random", "tokenizer": str(tokenizer_folder), "config": config},
        "adapter": adapter,
        "tasks": TASKS,
        "data": {"source": str(data_folder), "max_source_length": 32},
        "training": {"max_steps": 1, "batch_size": 4, "micro_batch_size": 4},
        "output_dir": str(folder),
    }
    folder.mkdir()
    file = folder.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(values))
    recipe, run = load_recipe(file), RunFolder(folder)
    run.claim(recipe)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    model = build_model(recipe, tokenizer)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.save_pretrained(run.best)
    tokenizer.save_pretrained(run.best)
    return folder
