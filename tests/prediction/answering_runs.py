"""Runs that answer, each task otherwise, and the rows to ask them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from conftest import example_rows, sentence
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration
from typer.testing import CliRunner, Result

from hyperformer_cli import AdaptedModel
from hyperformer_cli.cli.main import app

TASKS = ["cola", "mrpc", "stsb", "mnli"]


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def predicted(*arguments: object, stdin: bytes | None = None) -> list[dict[str, Any]]:
    result = run("predict", *arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def json_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def mixed_rows(count: int) -> list[dict[str, Any]]:
    by_task = {task: example_rows(task, count, "mixed") for task in TASKS}
    return [{"task": TASKS[i % 4], **by_task[TASKS[i % 4]][i], "id": f"row {i}"} for i in range(count)]


def make_backbone(folder: Path, tokenizer_folder: Path) -> Path:
    """A tiny T5 that answers by words: `1`, `0.5` (a number, no label) or `0`."""
    torch.manual_seed(0)
    shape = {"vocab_size": 320, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
    model = T5ForConditionalGeneration(T5Config(**shape, dropout_rate=0.0, decoder_start_token_id=0))
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(60):
        texts = [sentence((step, i)) for i in range(32)]
        answers = ["1" if "not" in text else "0.5" if "cat" in text else "0" for text in texts]
        labels = tokenizer(answers, padding=True, return_tensors="pt")["input_ids"]
        labels[labels == tokenizer.pad_token_id] = -100
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_run(
    folder: Path,
    backbone: Path,
    data_folder: Path,
    method: str = "hyperformer++",
    tasks: Sequence[str] = TASKS,
    **changes: Any,
) -> Path:
    """Makes a run by training, and then gives it weights with which answers differ from task to task."""
    values = {
        "name": folder.name,
        "model": {"name": str(backbone)},
        "adapter": {"method": method, **({} if method == "finetune" else {"reduction_factor": 2})},
        "tasks": list(tasks),
        "data": {"source": str(data_folder), "max_source_length": 32},
        "training": {"max_steps": 1, "batch_size": 8, "micro_batch_size": 8},
        "evaluation": {"every": 1, "batch_size": 4, "max_examples": 2},
        "output_dir": str(folder / "run"),
        **changes,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    result = run("train", folder / "recipe.yaml")
    assert result.exit_code == 0, result.output
    for best in sorted((folder / "run").rglob("best")):
        change_weights(best)
    return folder / "run"


def change_weights(folder: Path) -> None:
    model = AdaptedModel.from_pretrained(folder)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
