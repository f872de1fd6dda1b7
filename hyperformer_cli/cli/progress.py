"""Progress on stderr: a live panel on a terminal, a plain line every so often elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from hyperformer_cli.cli.console import is_main_process
from hyperformer_cli.cli.tables import scores_table, table
from hyperformer_cli.observer import SILENT, Observer, RunStart


@contextmanager
def make_observer(live: bool = True) -> Iterator[Observer]:
    """The observer for this stderr; silent on all processes but the first. `live` allows a panel on a terminal."""
    if not is_main_process():
        yield SILENT
        return
    console = Console(stderr=True, highlight=False, markup=False)
    if not (live and sys.stderr.isatty()):
        yield PlainProgress(console)
        return
    with LiveProgress(console) as observer:
        yield observer


class LineObserver(Observer):
    """Only what is reported, as plain lines: for commands whose lines a live panel would push away."""

    def reported(self, line: str) -> None:
        typer.echo(line, err=True)


QUIET_SECONDS = 30.0


class PlainProgress(Observer):
    """One line per event, for logs."""

    def __init__(self, console: Console):
        self.console = console
        self.last_step = self.first_step = 0
        self.start = self.spoke = time.monotonic()
        self.predicted = 0

    def say(self, line: str) -> None:
        self.spoke, self.predicted = time.monotonic(), 0
        self.console.print(line, soft_wrap=True)

    def started(self, run: RunStart) -> None:
        self.last_step, self.first_step, self.start = run.max_steps, 0, time.monotonic()
        training = sum(sizes["train"] for sizes in run.examples.values())
        self.say(
            f"{run.name}: {run.method}, {len(run.examples)} tasks, {training:,} training examples; "
            f"{run.parameters['trained']:,} of {run.parameters['total']:,} parameters are trained"
        )

    def resumed(self, step: int) -> None:
        self.first_step = step
        self.say(f"continuing after step {step}")

    def logged(self, record: dict[str, Any]) -> None:
        done = record["step"] - self.first_step
        left = (self.last_step - record["step"]) * (time.monotonic() - self.start) / max(done, 1)
        losses = " ".join(f"{task}={loss:.4f}" for task, loss in record["loss_by_task"].items())
        self.say(
            f"step {record['step']}/{self.last_step} loss={record['loss']:.4f} {losses} "
            f"lr={record['learning_rate']:.2e} {record['examples_per_second']:.1f} examples/s, {_duration(left)} left"
        )

    def evaluating(self, task: str, split: str, examples: int) -> None:
        self.predicted += examples
        if time.monotonic() - self.spoke > QUIET_SECONDS:
            self.say(f"evaluating {split}: {task}, {self.predicted} examples since the last line")

    def evaluated(self, record: dict[str, Any]) -> None:
        if record["kind"] == "final":
            what = f"{record['split']} (weights of step {record['step']})"
        else:
            what = f"step {record['step']} validation{' (best)' if record['best'] else ''}"
        scores = " ".join(f"{r['task']}/{r['metric']}={r['value']:.2f}" for r in record["results"])
        self.say(f"{what}: average={record['average']:.2f} {scores}")

    def reported(self, line: str) -> None:
        self.say(line)


class LiveProgress(Observer):
    """A panel that stays in place: bar, losses by task, the last evaluation."""

    def __init__(self, console: Console):
        self.console = console
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=console)
        self.steps = self.bars.add_task("training", total=None)
        self.status, self.activity = Text("loading data and model"), Text()
        self.losses: RenderableType = Text()
        self.scores: RenderableType = Text()
        self.latest: dict[str, float] = {}
        self.live = Live(self, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "LiveProgress":
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def __rich__(self) -> Group:
        return Group(self.bars, self.status, self.activity, self.losses, Text(), self.scores)

    def started(self, run: RunStart) -> None:
        self.bars.update(self.steps, description=run.name, total=run.max_steps)
        self.status = Text(
            f"{run.method}: training {run.parameters['trained']:,} of {run.parameters['total']:,} parameters"
        )
        columns = ("task", "train", "validation", "test")
        rows = [
            (task, *(f"{sizes[split]:,}" if split in sizes else "" for split in columns[1:]))
            for task, sizes in run.examples.items()
        ]
        self.losses = table("examples", columns, rows)

    def resumed(self, step: int) -> None:
        self.console.print(f"continuing after step {step}")
        self.bars.reset(self.steps, completed=step)

    def stepped(self, step: int) -> None:
        self.activity = Text()
        self.bars.update(self.steps, completed=step)

    def logged(self, record: dict[str, Any]) -> None:
        self.status = Text(
            f"loss {record['loss']:.4f}   {record['examples_per_second']:.1f} examples/s   "
            f"learning rate {record['learning_rate']:.2e}   gradient norm {record['gradient_norm']}"
        )
        self.latest |= record["loss_by_task"]  # not every task comes up between two log lines
        rows = [(task, f"{loss:.4f}") for task, loss in self.latest.items()]
        self.losses = table("", ("task", "loss per token"), rows)

    def evaluating(self, task: str, split: str, examples: int) -> None:
        self.activity = Text(f"evaluating {split}: {task}")

    def evaluated(self, record: dict[str, Any]) -> None:
        if record["kind"] == "final":
            where = f"{record['split']}, weights of step {record['step']}"
        else:
            where = f"validation at step {record['step']}{' (best so far)' if record['best'] else ''}"
        self.scores = scores_table(where, record["results"], {"metrics": record["average"]})

    def reported(self, line: str) -> None:
        self.console.print(line)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
