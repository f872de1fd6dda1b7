"""Runs to transfer from, and the folder of their targets: PAWS and IMDB beside the tasks of tests/conftest.py."""

import atexit
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from conftest import sentence
from pyarrow import parquet
from typer.testing import CliRunner, Result

from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.training.train_recipe import train_recipe

PROTOCOL = {"sizes": [4, 6], "seeds": [1, 2], "max_steps": 3, "batch_size": 4, "learning_rate": 1e-2}
_KEPT = Path(tempfile.mkdtemp(prefix="hyperformer-transfer-"))
atexit.register(shutil.rmtree, _KEPT, ignore_errors=True)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_targets(data_folder: Path) -> None:
    """PAWS (labeled_final) and IMDB in the hub's columns, beside the tasks of `data_folder`."""

    def write(task: str, split: str, rows: list[dict[str, Any]]) -> None:
        (data_folder / task).mkdir(exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(rows), data_folder / task / f"{split}.parquet")

    for split, count in (("train", 30), ("validation", 12), ("test", 14)):
        rows = [
            {"id": i, "sentence1": sentence((split, i)), "sentence2": sentence((split, i, 2)), "label": i % 2}
            for i in range(count)
        ]
        write("paws", split, rows)
    for split in ("train", "test"):
        write("imdb", split, [{"text": sentence((split, "imdb", i)), "label": i % 2} for i in range(20)])


def copy_of_trained(recipe_values: dict[str, Any], folder: Path, **changes: Any) -> Path:
    """A run with a `fewshot` section of its own: trained once for all tests, and copied."""
    values = {
        **recipe_values,
        "tasks": ["cola", "mrpc"],
        "training": {**recipe_values["training"], "max_steps": 2},
        "fewshot": PROTOCOL,
        **changes,
    }
    original = _KEPT / str(abs(hash(json.dumps(changes))))
    if not original.exists():
        train_recipe(build_recipe({**values, "output_dir": str(original)}))
    return Path(shutil.copytree(original, folder, dirs_exist_ok=True))
