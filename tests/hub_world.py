"""A hub with GLUE and a small T5, and the command line as a process that knows this hub alone."""

import io
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from conftest import sentence
from hub_server import Hub
from pyarrow import parquet

from hyperformer_cli.tasks.registry import get_task

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
MODEL, DATA = "google-t5/t5-small", "nyu-mll/glue"
SHRUNK = (
    "training.max_steps=4", "training.batch_size=8", "training.micro_batch_size=4", "training.warmup_steps=1",
    "evaluation.every=2", "evaluation.batch_size=32", "evaluation.max_examples=8", "training.log_every=2",
)  # fmt: skip


def parquet_bytes(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def rows_of(task: str, split: str, count: int) -> list[dict[str, Any]]:
    """Rows in the columns of a task's data set on the hub; the labels are numbers."""
    declared = get_task(task)
    labels = len(declared.labels or ())
    rows = []
    for i in range(count):
        label = random.Random(f"{task}{split}{i}").randrange(labels) if labels else round(5 * i / count, 3)
        texts = {column: sentence((task, split, i, column)) for column in declared.text_columns}
        rows.append({**texts, declared.label_column: label, "idx": i})
    return rows


def data_repository(tasks: dict[str, int]) -> dict[str, bytes]:
    """The files of a data set with one configuration per task, as on the hub, with this many training rows."""
    files, configs, infos = {}, [], []
    for task, count in tasks.items():
        declared = get_task(task)
        splits = {s for s in declared.sizes} | {"test"}
        data_files = []
        for split in sorted(splits):
            path = f"{task}/{split}-00000-of-00001.parquet"
            files[path] = parquet_bytes(rows_of(task, split, count if split == "train" else max(16, count // 4)))
            data_files.append({"split": split, "path": f"{task}/{split}-*"})
        configs.append({"config_name": task, "data_files": data_files})
        features: list[dict[str, Any]] = [{"name": column, "dtype": "string"} for column in declared.text_columns]
        names = {"class_label": {"names": {str(i): name for i, name in enumerate(declared.label_names)}}}
        dtype: Any = names if declared.labels else "float32"
        features += [{"name": declared.label_column, "dtype": dtype}, {"name": "idx", "dtype": "int32"}]
        infos.append({"config_name": task, "features": features})
    card = yaml.safe_dump({"configs": configs, "dataset_info": infos})
    return {"README.md": f"---\n{card}---\n".encode(), **files}


def model_repository(tokenizer_folder: Path, scratch: Path) -> dict[str, bytes]:
    """A T5 of 32 units with its tokenizer, under the names of files on the hub."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    shape = {"vocab_size": 320, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
    T5ForConditionalGeneration(T5Config(**shape, decoder_start_token_id=0)).save_pretrained(scratch)
    return {path.name: path.read_bytes() for folder in (tokenizer_folder, scratch) for path in folder.iterdir()}


def fill(hub: Hub, tokenizer_folder: Path, scratch: Path, rows: int = 64) -> Hub:
    hub.add("model", MODEL, model_repository(tokenizer_folder, scratch))
    hub.add("dataset", DATA, data_repository(dict.fromkeys(GLUE, rows)))
    return hub


@dataclass
class Machine:
    """A machine of its own: caches in a folder, a hub, and nothing else of this process's environment for them."""

    folder: Path
    hub: Hub
    token: str | None = None
    first: "Done | None" = None

    @property
    def environment(self) -> dict[str, str]:
        ours = {
            "HF_ENDPOINT": self.hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(self.folder / "hf"),
            "HYPERFORMER_CACHE": str(self.folder / "cache"), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_ETAG_TIMEOUT": "2", "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        }  # fmt: skip
        if self.token:
            ours["HF_TOKEN"] = self.token
        proxies = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        return {name: value for name, value in os.environ.items() if name not in proxies} | ours

    def run(self, *arguments: object, code: int | None = 0, **environment: str) -> "Done":
        """`hyperformer ARGUMENTS` in the machine's folder; its exit code must be `code`."""
        command = [sys.executable, "-m", "hyperformer_cli", *map(str, arguments)]
        return self._run(command, code, environment)

    def python(self, program: str, code: int | None = 0, **environment: str) -> "Done":
        return self._run([sys.executable, "-c", program], code, environment)

    def _run(self, command: list[str], code: int | None, environment: dict[str, str]) -> "Done":
        self.folder.mkdir(exist_ok=True, parents=True)
        self.hub.requests.clear()
        start = time.monotonic()
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment | environment, capture_output=True, text=True, timeout=300
        )
        assert code is None or done.returncode == code, done.stderr + done.stdout
        return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - start, list(self.hub.requests))


@dataclass
class Done:
    code: int
    stdout: str
    stderr: str
    seconds: float
    requests: list[tuple[str, str]]
