"""Progress on stderr: a live panel on a terminal, a plain line every so often elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from hyperformer_cli.cli.console import is_main_process
from hyperformer_cli.cli.lines import say
from hyperformer_cli.cli.tables import scores_table, table
from hyperformer_cli.observer import SILENT, Observer, RunStart

QUIET_SECONDS = 30.0


@contextmanager
def make_observer() -> Iterator[Observer]:
    """The observer of training and evaluation for this stderr; silent on all processes but the first."""
    if not is_main_process():
        yield SILENT
    elif not sys.stderr.isatty():
        yield PlainProgress()
    else:
        console = Console(stderr=True, highlight=False, markup=False)
        panel = LiveProgress(console)
        with Live(panel, console=console, refresh_per_second=4, transient=True):
            yield panel


class LineObserver(Observer):
    """Only what is reported, as plain lines."""

    def reported(self, line: str) -> None:
        say(line, err=True)

    def warned(self, warning: str) -> None:
        say(f"WARNING: {warning}", 9, err=True, fg="red", bold=True)


class PlainProgress(LineObserver):
    """One line per event, for logs."""

    def __init__(self) -> None:
        self.last_step = self.first_step = self.predicted = 0
        self.start = self.spoke = time.monotonic()

    def reported(self, line: str) -> None:
        self.spoke, self.predicted = time.monotonic(), 0
        super().reported(line)

    def started(self, run: RunStart) -> None:
        self.last_step, self.first_step, self.start = run.max_steps, 0, time.monotonic()
        training = sum(sizes["train"] for sizes in run.examples.values())
        self.reported(f"{run.name}: {len(run.examples)} tasks, {training:,} training examples; {_trained(run)}")
        self.reported(f"on {run.devices}")

    def resumed(self, step: int) -> None:
        self.first_step = step
        self.reported(f"continuing after step {step}")

    def logged(self, record: dict[str, Any]) -> None:
        done = record["step"] - self.first_step
        left = (self.last_step - record["step"]) * (time.monotonic() - self.start) / max(done, 1)
        losses = " ".join(f"{task}={loss:.4f}" for task, loss in record["loss_by_task"].items())
        self.reported(
            f"step {record['step']}/{self.last_step} loss={record['loss']:.4f} {losses} "
            f"lr={record['learning_rate']:.2e} {record['examples_per_second']:.1f} examples/s, "
            f"{timedelta(seconds=int(left))} left"
        )

    def evaluating(self, task: str, split: str, examples: int) -> None:
        self.predicted += examples
        if time.monotonic() - self.spoke > QUIET_SECONDS:
            self.reported(f"evaluating {split}: {task}, {self.predicted} examples since the last line")

    def evaluated(self, record: dict[str, Any]) -> None:
        scores = " ".join(f"{r['task']}/{r['metric']}={r['value']:.2f}" for r in record["results"])
        self.reported(f"{_measured(record)}: average={record['average']:.2f} {scores}")


class LiveProgress(Observer):
    """A panel that stays in place: bar, losses by task, the last evaluation."""

    def __init__(self, console: Console):
        self.console = console
        name = TextColumn("{task.description}", markup=False)
        self.bars = Progress(name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console)
        self.steps = self.bars.add_task("training", total=None)
        self.status, self.activity = "loading data and model", ""
        self.losses: RenderableType = ""
        self.scores: RenderableType = ""
        self.latest: dict[str, float] = {}

    def __rich__(self) -> Group:
        return Group(self.bars, Text(self.status), Text(self.activity), self.losses, "", self.scores)

    def started(self, run: RunStart) -> None:
        self.bars.update(self.steps, description=run.name, total=run.max_steps)
        self.status = f"{_trained(run)} on {run.devices}"
        columns = ("task", "train", "validation", "test")
        rows = [(task, *map(sizes.get, columns[1:])) for task, sizes in run.examples.items()]
        self.losses = table("examples", columns, rows)

    def resumed(self, step: int) -> None:
        self.reported(f"continuing after step {step}")
        self.bars.reset(self.steps, completed=step)

    def stepped(self, step: int) -> None:
        self.activity = ""
        self.bars.update(self.steps, completed=step)

    def logged(self, record: dict[str, Any]) -> None:
        self.status = (
            f"loss {record['loss']:.4f}   {record['examples_per_second']:.1f} examples/s   "
            f"learning rate {record['learning_rate']:.2e}   gradient norm {record['gradient_norm']}"
        )
        self.latest |= record["loss_by_task"]  # not every task is drawn between two log lines
        rows = [(task, f"{loss:.4f}") for task, loss in self.latest.items()]
        self.losses = table("", ("task", "loss per token"), rows)

    def evaluating(self, task: str, split: str, examples: int) -> None:
        self.activity = f"evaluating {split}: {task}"

    def evaluated(self, record: dict[str, Any]) -> None:
        self.activity = ""
        self.scores = scores_table(_measured(record), record["results"], {"metrics": record["average"]})

    def reported(self, line: str) -> None:
        self.console.print(line)

    def warned(self, warning: str) -> None:
        self.console.print(Text(f"WARNING: {warning}", style="bold red"))


def _trained(run: RunStart) -> str:
    counts = run.parameters
    return f"{run.method} trains {counts['trained']:,} of {counts['total']:,} parameters"


def _measured(record: dict[str, Any]) -> str:
    """What was evaluated: which split, with the weights of which step."""
    if record["kind"] == "final":
        return f"{record['split']}, weights of step {record['step']}"
    return f"validation at step {record['step']}{' (best so far)' if record['best'] else ''}"
