"""Time and memory of a first and a second start's tokenisation, the second from the cache.

Tokenises generated rows of one task in a process of its own. The size is that of Yelp's training split: 560,000 reviews
of 130 words, cut at 128 tokens. Words are looked up in a table, which takes little time, so that what is seen is ours.
"""

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from benchmarks.timing import Row, Settings, in_a_process, peak_mib

TITLE = "Tokenisation"
COLUMNS = {
    "start": "start", "rows": "rows", "tokens": "tokens", "wall": "seconds (wall)", "processor": "seconds (processor)",
    "peak": "peak memory (MiB)", "imported": "before anything is read (MiB)", "loaded": "for the rows (MiB)",
}  # fmt: skip
ROWS, WORDS = 560_000, 130


def measure(settings: Settings) -> list[Row]:
    rows = 200 if settings.tiny else ROWS
    with tempfile.TemporaryDirectory() as scratch:
        folder, before = Path(scratch), os.environ.get("HYPERFORMER_CACHE")
        write_rows(folder, rows, WORDS)
        write_tokenizer(folder / "tokenizer")
        os.environ["HYPERFORMER_CACHE"] = str(folder / "cache")
        try:
            return [
                {"start": start, "rows": rows} | in_a_process("tokenization", folder) for start in ("first", "second")
            ]
        finally:
            os.environ.pop("HYPERFORMER_CACHE")
            os.environ |= {} if before is None else {"HYPERFORMER_CACHE": before}


def measure_one(folder: Path) -> Row:
    """In this process, which has done nothing else."""
    from transformers import AutoTokenizer

    from hyperformer_cli.data.encoding import TwoSequences
    from hyperformer_cli.data.sources import load_rows
    from hyperformer_cli.data.tokenization import Tokenization
    from hyperformer_cli.tasks.registry import get_task

    task = get_task("sst2")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    before, start, used = peak_mib(), time.monotonic(), time.process_time()
    rows = load_rows(task, "train", str(folder))
    loaded = peak_mib()
    split = Tokenization(TwoSequences(tokenizer), 128, 128, False).apply(task, rows)
    tokens = int(split.input_lengths().sum())
    return {
        "tokens": tokens, "wall": time.monotonic() - start, "processor": time.process_time() - used,
        "peak": peak_mib(), "imported": before, "loaded": loaded - before,
    }  # fmt: skip


def write_rows(folder: Path, rows: int, words: int) -> None:
    draw = random.Random(0)
    texts = [" ".join(f"w{draw.randrange(5000)}" for _ in range(words)) for _ in range(min(rows, 10_000))]
    (folder / "sst2").mkdir()
    schema = pa.schema([("sentence", pa.string()), ("label", pa.int64())])
    with parquet.ParquetWriter(folder / "sst2" / "train.parquet", schema) as writer:
        for start in range(0, rows, len(texts)):
            part = texts[: rows - start]
            writer.write_table(pa.table({"sentence": part, "label": [i % 2 for i in range(len(part))]}, schema))


def write_tokenizer(folder: Path) -> None:
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2, "0": 3, "1": 4}
    vocabulary |= {f"w{i}": 5 + i for i in range(5000)}
    tokens = {content: {"id": i, "content": content} for i, content in enumerate(("<pad>", "</s>", "<unk>"))}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    state = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{**token, **plain} for token in tokens.values()],
        "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": None,
        "post_processor": {
            "type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, end],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }  # fmt: skip
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(state))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


if __name__ == "__main__":
    print(json.dumps(measure_one(Path(sys.argv[1]))))
