"""Prediction of a run beside the obvious loop, and its memory: what sorting, grouping and streaming gain.

The loop tokenises and generates batch after batch in the order of the rows, with one limit for all tasks, and gives no
scores. The run is the one given by `--run`, such as the quickstart's, or one of two steps; memory is the peak of a
process of its own. 4,000 rows of the first task, then of all tasks mixed.
"""

import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.timing import Row, Settings, in_turn, median, ratio, short_run, timed
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.prediction.rows import RowStream
from hyperformer_cli.prediction.stream import predict_stream
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.tasks.registry import get_task

TITLE = "Prediction"
COLUMNS = {
    "what": "rows of", "way": "way", "rows": "rows/s", "ratio": "time, of the loop", "spread": "middle half",
    "memory": "peak memory (MB)",
}  # fmt: skip
ROWS, BATCH = 4000, 128


def measure(settings: Settings) -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = settings.run or short_run(Path(scratch) / "run")
        return _measure(settings, folder, *((24, 8) if settings.tiny else (ROWS, BATCH)))


def _measure(settings: Settings, folder: Path, rows: int, batch: int) -> list[Row]:
    run = OpenedRun(folder, overrides=[f"evaluation.batch_size={batch}"])
    names, found = list(run.tasks), []
    for what, tasks in ((names[0], names[:1]), (f"{len(names)} tasks mixed", names)):
        lines = make_lines(tasks, rows)
        ways = {
            "loop of generate": lambda lines=lines: loop(run, lines),
            "predict": lambda lines=lines: predict(run, lines, with_scores=False),
            "predict, with scores": lambda lines=lines: predict(run, lines, with_scores=True),
        }
        taken = in_turn({name: timed(way) for name, way in ways.items()}, settings.rounds)
        found += [
            {"what": what, "way": way, "rows": rows / median(own)} | ratio(own, taken["loop of generate"])
            for way, own in taken.items()
        ]
    for count in (rows,) if settings.tiny else (2_000, 20_000):
        peak = peak_megabytes(folder, batch, make_lines(names, count))
        found.append({"what": f"{len(names)} tasks mixed", "way": f"predict, {count:,} rows", "memory": peak})
    return found


def make_lines(tasks: Sequence[str], count: int) -> list[bytes]:
    """JSON lines of the tasks' training rows, taken from one task after the other, repeated as often as needed."""
    tables = [load_rows(get_task(task), "train", "bundled").table for task in tasks]
    streams = [itertools.cycle(table.to_pylist()) for table in tables]
    turns = zip(itertools.cycle(tasks), itertools.chain.from_iterable(zip(*streams, strict=True)), strict=False)
    return [json.dumps({"task": task, **row}).encode() + b"\n" for task, row in itertools.islice(turns, count)]


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


def peak_megabytes(run: Path, batch: int, lines: list[bytes]) -> float:
    """Resident memory of the command itself, at its highest."""
    with tempfile.TemporaryFile() as file:
        file.writelines(lines)
        file.seek(0)
        command = [sys.executable, "-m", "hyperformer_cli", "predict", str(run), "--batch-size", str(batch)]
        process = subprocess.Popen(command, stdin=file, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"predict ended with status {status}")
    return usage.ru_maxrss / 1024  # in kB on Linux
