"""Time and memory of a first and a second start's tokenisation:   python benchmarks/tokenization.py

Tokenises generated rows of one task in a fresh cache, in a process of its own, then again from the cache. The default
is the size of Yelp's training split: 560,000 reviews of 130 words, cut at 128 tokens. `--rows 950000 --words 30` is the
size of GLUE. By default words are looked up in a table, which takes little time, so that what is seen is ours;
`--tokenizer FOLDER` takes a real one.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=560_000)
    parser.add_argument("--words", type=int, default=130)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)  # the measured process
    arguments = parser.parse_args()
    if arguments.folder:
        return measure(arguments.folder)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_rows(folder, arguments.rows, arguments.words)
        if arguments.tokenizer:
            (folder / "tokenizer").symlink_to(arguments.tokenizer.resolve())
        else:
            write_tokenizer(folder / "tokenizer")
        environment = {**os.environ, "HYPERFORMER_CACHE": str(folder / "cache"), "TOKENIZERS_PARALLELISM": "true"}
        for start in ("first", "second"):
            command = [sys.executable, __file__, "--in", scratch]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            print(f"{start} start: {arguments.rows:,} rows, {done.stdout.splitlines()[-1]}", flush=True)


def measure(folder: Path) -> None:
    from transformers import AutoTokenizer

    from hyperformer_cli.data.encoding import TwoSequences
    from hyperformer_cli.data.sources import load_rows
    from hyperformer_cli.data.tokenization import Tokenization
    from hyperformer_cli.tasks.registry import get_task

    task = get_task("sst2")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    before, start, used = peak(), time.monotonic(), time.process_time()
    rows = load_rows(task, "train", str(folder))
    loaded = peak()
    split = Tokenization(TwoSequences(tokenizer), 128, 128, False).apply(task, rows)
    tokens = int(split.input_lengths().sum())
    seconds, cpu = time.monotonic() - start, time.process_time() - used
    print(
        f"{tokens:,} tokens: {seconds:.1f} s ({cpu:.1f} s of processor time); peak memory {peak():,.0f} MB, of which "
        f"{before:,.0f} MB before anything is read and {loaded - before:,.0f} MB for the rows"
    )


def peak() -> float:
    """The most memory the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


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
    main()
