"""What benchmarks share: settings, rounds in turn, processor time, peak memory.

What is compared takes turns, round by round, so that a machine that grows slower does so for all of it. A ratio is the
median over rounds of the ratio within a round; its spread is that of the middle half of the rounds. Times are those of
the processor, all threads together, which other programs on the machine hardly change; on a GPU, of the wall clock.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]  # by column


@dataclass(frozen=True)
class Settings:
    """What a person can choose.

    Attributes:
        rounds: how often everything is timed after a first round that warms up.
        tiny: sizes at which nothing is learnt about speed; for tests.
        backbone: of the training steps.
        config: values that replace those of its configuration.
        rows, lengths: of their batches.
        device, precision: of their computation.
        methods: those that are compared with the bound; by default all.
        run: a trained run on the bundled tasks, for prediction; by default one that is trained for a moment.
        recipe, changes: whose steps are cut into micro-batches.
        data, tokenizer: GLUE's parquet files and a tokenizer for them, for evaluation; by default the miniature.
    """

    rounds: int = 9
    tiny: bool = False
    backbone: str = "t5-small"
    config: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 32
    lengths: Sequence[int] = (64, 128)
    device: str = "cpu"
    precision: str = "float32"
    methods: Sequence[str] = ()
    run: Path | None = None
    recipe: str = "quickstart"
    changes: Sequence[str] = ()
    data: str | None = None
    tokenizer: str = "bundled"

    @property
    def clock(self) -> Callable[[], float]:
        return time.process_time if self.device == "cpu" else time.perf_counter


Parts = Mapping[str, float]  # seconds by part


def in_turn(runs: Mapping[str, Callable[[], Parts]], rounds: int) -> dict[str, list[Parts]]:
    """Calls everything in every round, in alternating order, and returns what it said it took; without round one."""
    found: dict[str, list[Parts]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name in list(runs) if number % 2 else list(reversed(runs)):
            parts = runs[name]()
            if number:
                found[name].append(parts)
    return found


def timed(function: Callable[[], object], clock: Callable[[], float] = time.process_time) -> Callable[[], Parts]:
    """The function, saying how long it took."""

    def run() -> Parts:
        start = clock()
        function()
        return {"total": clock() - start}

    return run


def ratio(own: Sequence[Parts], others: Sequence[Parts], part: str = "total") -> Row:
    """`ratio` and `spread` of one part's time beside that of the same rounds of another."""
    ratios = sorted(mine[part] / its[part] for mine, its in zip(own, others, strict=True))
    return {"ratio": statistics.median(ratios), "spread": spread(ratios)}


def median(taken: Sequence[Parts], part: str = "total") -> float:
    return statistics.median(parts[part] for parts in taken)


def spread(values: Sequence[float]) -> str:
    """The middle half: from the first to the third quartile."""
    if len(values) < 2:
        return ""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{low:.2f} to {high:.2f}"


def in_a_process(module: str, *arguments: object) -> Row:
    """Runs a module of this package in a process of its own; its last line of output is JSON."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def short_run(folder: Path) -> Path:
    """A run of the quickstart that ends after two steps."""
    changes = ["training.max_steps=2", "evaluation.max_examples=4", f"output_dir={folder}", "training.warmup_steps=0"]
    command = [sys.executable, "-m", "hyperformer_cli", "train", "quickstart", *changes]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def forget_peak() -> None:
    """Lets the process's peak of memory begin anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """The most memory the process has had since then."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def environment() -> Row:
    """What the figures depend on."""
    import torch
    import transformers

    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
