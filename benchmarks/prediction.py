"""Prediction of a run beside the obvious loop, and its memory: what sorting, grouping and streaming come to.

    hyperformer train quickstart
    python benchmarks/prediction_speed.py outputs/quickstart

The loop tokenises and generates batch after batch in the order of the rows, with one limit for all tasks, and gives no
scores. All are timed in turn, part by part, in one process after a warm-up; memory is the peak of a process of its own.
"""

import argparse
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.prediction.rows import RowStream
from hyperformer_cli.prediction.stream import predict_stream
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.tasks.registry import get_task

PARTS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run on the bundled tasks, such as the quickstart's")
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--few-rows", type=int, default=2000, help="for memory: a tenth should need as much")
    parser.add_argument("--batch-size", type=int, default=128)
    options = parser.parse_args()
    run = OpenedRun(options.run, overrides=[f"evaluation.batch_size={options.batch_size}"])
    names = list(run.tasks)
    print(f"{'rows of':28} {'loop':>9} {'predict':>9} {'ratio':>6} {'with scores':>12} {'ratio':>6}   (rows/s)")
    for what, tasks in ((names[0], names[:1]), (f"{len(names)} tasks in turn", names)):
        lines = make_lines(tasks, options.rows)
        ways = (
            lambda lines: loop(run, lines),
            lambda lines: predict(run, lines, with_scores=False),
            lambda lines: predict(run, lines, with_scores=True),
        )
        for way in ways:
            way(lines[: 4 * options.batch_size])
        slow, fast, scored = (len(lines) / taken for taken in seconds(ways, lines))
        print(f"{what:28} {slow:9.0f} {fast:9.0f} {fast / slow:6.2f} {scored:12.0f} {scored / slow:6.2f}")
    for count in (options.few_rows, options.rows):
        print(f"peak memory, {count:,} rows: {peak_megabytes(options, make_lines(names, count)):.0f} MB")


def make_lines(tasks: Sequence[str], count: int) -> list[bytes]:
    """JSON lines of the tasks' training rows, taken from one task after the other, repeated as often as needed."""
    tables = [load_rows(get_task(task), "train", "bundled").table for task in tasks]
    streams = [itertools.cycle(table.to_pylist()) for table in tables]
    turns = zip(itertools.cycle(tasks), itertools.chain.from_iterable(zip(*streams, strict=True)), strict=False)
    return [json.dumps({"task": task, **row}).encode() + b"\n" for task, row in itertools.islice(turns, count)]


def seconds(ways: Sequence[Callable[[list[bytes]], int]], lines: list[bytes]) -> list[float]:
    """Of every way, part by part in turn, so that a machine that grows slower does so for all of them."""
    taken = [0.0] * len(ways)
    size = -(-len(lines) // PARTS)
    for start in range(0, len(lines), size):
        part = lines[start : start + size]
        for i, way in enumerate(ways):
            begun = time.perf_counter()
            if way(part) != len(part):
                raise RuntimeError("not every row was predicted")
            taken[i] += time.perf_counter() - begun
    return taken


def predict(run: OpenedRun, lines: list[bytes], with_scores: bool) -> int:
    stream = RowStream(io.BytesIO(b"".join(lines)), "rows", "jsonl")
    return sum(map(len, predict_stream(run, stream, with_scores=with_scores)))


def loop(run: OpenedRun, lines: list[bytes]) -> int:
    """What one writes first."""
    model, tokenizer, done = run.model, run.tokenizer, 0
    size, length = run.recipe.evaluation.batch_size, run.recipe.data.max_source_length
    parsed = [json.loads(line) for line in lines]
    new_tokens = longest_target(
        [run.tasks[name] for name in {row["task"] for row in parsed}], run.tokenization.encoding
    )
    for start in range(0, len(parsed), size):
        batch = parsed[start : start + size]
        texts = [run.tasks[row["task"]].input_text(row, run.recipe.adapter.needs_task_prefix) for row in batch]
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt").to(
            model.device
        )
        with torch.inference_mode():
            ids = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                task_ids=[model.task_id(row["task"]) for row in batch],
                max_new_tokens=max(new_tokens.values()),
                do_sample=False,
            )
        done += len(tokenizer.batch_decode(ids, skip_special_tokens=True))
    return done


def peak_megabytes(options: argparse.Namespace, lines: list[bytes]) -> float:
    """Resident memory of the command itself, at its highest."""
    with tempfile.TemporaryFile() as file:
        file.writelines(lines)
        file.seek(0)
        command = [sys.executable, "-m", "hyperformer_cli", "predict", str(options.run)]
        process = subprocess.Popen(
            [*command, "--batch-size", str(options.batch_size)], stdin=file, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"predict ended with status {status}")
    return usage.ru_maxrss / 1024  # in kB on Linux


if __name__ == "__main__":
    main()
