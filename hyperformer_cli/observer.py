"""Who watches a run: the loop tells an observer what happens, the command line shows it."""

from collections.abc import Sequence
from typing import Any

from hyperformer_cli.config.recipe import Recipe


class Observer:
    """Hears of everything and does nothing; override what matters."""

    def started(self, recipe: Recipe, parameters: dict[str, Any], examples: dict[str, dict[str, int]]) -> None:
        """Data and model are ready. `examples` counts each task's by split."""

    def resumed(self, step: int, faults: Sequence[str]) -> None:
        """The run goes on from a checkpoint; `faults` are newer ones that could not be read."""

    def stepped(self, step: int) -> None:
        """An optimizer step was made."""

    def logged(self, record: dict[str, Any]) -> None:
        """A line for metrics.jsonl: losses, rate, speed."""

    def evaluating(self, task: str, split: str, examples: int) -> None:
        """So many more examples of a task were predicted."""

    def evaluated(self, record: dict[str, Any]) -> None:
        """All tasks were scored on a split."""

    def saved(self, step: int) -> None:
        """A checkpoint was written."""

    def reported(self, line: str) -> None:
        """Something to say between the runs of a sweep."""

    def already_complete(self, path: str) -> None:
        """The run folder holds results; nothing is done."""


SILENT = Observer()
