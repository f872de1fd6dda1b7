"""Options, and a small world to run in without network: a tokenizer, data sets in the hub's schema, a recipe."""

import atexit
import json
import math
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

# Before torch or a Hugging Face library is imported. Tiny tensors gain nothing from threads, and lose much on a busy
# machine.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = os.environ["HYPERFORMER_CACHE"] = _caches = tempfile.mkdtemp(prefix="hyperformer-tests-")
atexit.register(shutil.rmtree, _caches, ignore_errors=True)
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "child",
    "sees",
    "likes",
    "finds",
    "slowly",
    "not",
    "happy",
    "sad",
    "old",
    "new",
    "tree",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reference-fixtures",
        type=Path,
        default=Path(__file__).parent / "fixtures",
        help="folder of reference cases; the default holds a part of them",
    )
    parser.addoption(
        "--adapterhub-python", type=Path, help="python of an environment with adapters 1.3 and transformers 4.57"
    )
    parser.addoption("--reference-device", default="cpu", help="device for the parity tests")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that takes `case` (or `trajectory`) for every one in the fixtures' folder."""
    folder = metafunc.config.getoption("--reference-fixtures")
    names = sorted(path.stem for path in folder.glob("*.safetensors"))
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", [name for name in names if not name.startswith("trajectory_")], indirect=True)
    if "trajectory" in metafunc.fixturenames:
        metafunc.parametrize("trajectory", [name for name in names if name.startswith("trajectory_")], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out tests of what is installed elsewhere, unless that place is given."""
    if config.getoption("--adapterhub-python") is None:
        elsewhere = [item for item in items if "adapterhub_python" in item.fixturenames]
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


@pytest.fixture
def adapterhub_python(request: pytest.FixtureRequest) -> Path:
    return request.config.getoption("--adapterhub-python")


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5-like tokenizer of a few hundred pieces: the substrings that save most; trainers are not deterministic."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    text = [sentence(i) for i in range(500)] + [str(n / 10) for n in range(51)] + list("0123456789")
    text.append("sentence: sentence1: sentence2: premise: hypothesis cola mrpc stsb mnli")
    words = Counter(f"▁{word}" for line in text for word in line.split())
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for start, end in combinations(range(len(word) + 1), 2):
            counts[word[start:end]] += count
    best = sorted(counts, key=lambda piece: (len(piece) > 1, -counts[piece] * len(piece), piece))[:297]
    vocabulary = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")]
    vocabulary += [(piece, math.log(counts[piece] / counts.total())) for piece in best]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CoLA, MRPC, STS-B and MNLI in the hub's columns, each in another of the file formats we read."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    folder = tmp_path_factory.mktemp("data")
    write = {
        "cola": lambda rows, path: parquet.write_table(pa.Table.from_pylist(rows), f"{path}.parquet"),
        "mrpc": lambda rows, path: path.with_suffix(".jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows)),
        "stsb": lambda rows, path: csv.write_csv(pa.Table.from_pylist(rows), f"{path}.csv"),
        "mnli": lambda rows, path: path.with_suffix(".tsv").write_text(
            "".join("\t".join(map(str, line)) + "\n" for line in (rows[0], *(row.values() for row in rows)))
        ),
    }
    for task, writer in write.items():
        (folder / task).mkdir()
        validation = ["validation_matched", "validation_mismatched"] if task == "mnli" else ["validation"]
        for split in ["train", *validation]:
            writer(example_rows(task, 64 if split == "train" else 24, seed=split), folder / task / split)
    return folder


@pytest.fixture
def recipe_values(tokenizer_folder: Path, data_folder: Path, tmp_path: Path) -> dict[str, Any]:
    """A run of seconds: HyperFormer++ on a randomly initialised T5 of 32 units."""
    shape = {"vocab_size": 320, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
    return {
        "name": "tiny",
        "model": {"init": "random", "tokenizer": str(tokenizer_folder), "config": shape},
        "adapter": {"method": "hyperformer++", "reduction_factor": 4},
        "tasks": ["cola", "mrpc", "stsb", "mnli"],
        "data": {"source": str(data_folder), "max_source_length": 32},
        "training": {
            "max_steps": 12,
            "batch_size": 8,
            "micro_batch_size": 4,
            "learning_rate": 3e-3,
            "warmup_steps": 2,
            "save_every": 4,
            "log_every": 3,
        },
        "evaluation": {"every": 6, "batch_size": 16},
        "output_dir": str(tmp_path / "run"),
    }


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    def write(values: dict[str, Any], name: str = "recipe.yaml") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write


def sentence(seed: object) -> str:
    chosen = random.Random(str(seed))
    return " ".join(chosen.choice(WORDS) for _ in range(chosen.randint(4, 9)))


def example_rows(task: str, count: int, seed: str) -> list[dict[str, Any]]:
    rows = []
    for i in range(count):
        first, second = sentence((task, seed, i, 1)), sentence((task, seed, i, 2))
        label = {"stsb": round(5 * i / count, 3), "mnli": i % 3}.get(task, i % 2)
        texts = {
            "cola": {"sentence": first},
            "mnli": {"premise": first, "hypothesis": second},
        }.get(task, {"sentence1": first, "sentence2": second})
        rows.append({**texts, "label": label, "idx": i})
    return rows
