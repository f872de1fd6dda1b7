"""Who watches a run: commands tell an observer what happens, the command line shows it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunStart:
    """What is known of a run when its first step begins.

    Attributes:
        name, method: the recipe's.
        max_steps: optimizer steps of the whole run.
        parameters: counts, as in results.json.
        examples: number of examples by task and split.
        devices: what it runs on, with which precision and how many processes.
    """

    name: str
    method: str
    max_steps: int
    parameters: dict[str, Any]
    examples: dict[str, dict[str, int]]
    devices: str = ""


class Observer:
    """Is told everything and does nothing; override what matters."""

    def started(self, run: RunStart) -> None:
        """Data and model are ready."""

    def resumed(self, step: int) -> None:
        """The run continues from a checkpoint."""

    def stepped(self, step: int) -> None:
        """An optimizer step was made."""

    def logged(self, record: dict[str, Any]) -> None:
        """A line for metrics.jsonl: losses, rate, speed."""

    def evaluating(self, task: str, split: str, examples: int) -> None:
        """This process predicted `examples` more examples of a task."""

    def task_evaluated(self, task: str, split: str) -> None:
        """A task was scored; all processes are at this point."""

    def evaluated(self, record: dict[str, Any]) -> None:
        """All tasks were scored on a split."""

    def reported(self, line: str) -> None:
        """A line for people: what comes next, what has been done, what failed."""

    def warned(self, warning: str) -> None:
        """Something may not be as it was meant: what, and what to try."""


SILENT = Observer()
