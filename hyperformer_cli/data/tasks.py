"""Tasks as data: where a data set lies, how a row becomes input and target text, how it is split and scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Literal

from hyperformer_cli.errors import InputError, did_you_mean

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Task:
    """One task of the paper.

    Attributes:
        name: also the prefix of inputs in plain fine-tuning.
        path, configuration, revision: the data set on the hub.
        template: the input text; columns in braces.
        labels: the label texts, in the order of the label column's integers; empty for numbers as targets.
        metrics: names in `metrics`, the first the task's principal one.
        split_rule: `halved`, `carved` or `own`; see `splits`.
        source_splits: the data set's split that plays each role.
        sizes: rows of the data set's splits, as published: what a dry run shows where the data are not at hand.
        label_column: the column of the target.
    """

    name: str
    path: str
    configuration: str | None
    template: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    split_rule: Literal["halved", "carved", "own"]
    sizes: Mapping[str, int]
    source_splits: Mapping[str, str] = field(default_factory=lambda: {split: split for split in SPLITS})
    revision: str = "main"
    label_column: str = "label"

    @property
    def columns(self) -> list[str]:
        """The columns a row must have."""
        fields = [name for _, name, _, _ in Formatter().parse(self.template) if name]
        return [*fields, self.label_column]

    @property
    def is_regression(self) -> bool:
        return not self.labels

    def input_text(self, row: Mapping[str, Any], with_prefix: bool) -> str:
        """The encoder's text; `with_prefix` puts the task's name in front, as plain fine-tuning does."""
        text = self.template.format_map(row)
        return f"{self.name} {text}" if with_prefix else text

    def target_text(self, row: Mapping[str, Any]) -> str:
        """The decoder's text: a label text, or a number to one decimal (the reference's round(label, 1)).

        Raises:
            InputError: the label is missing or not one of the task's.
        """
        label = row[self.label_column]
        try:
            if self.is_regression:
                return str(round(float(label), 1))
            if int(label) != label or label < 0:
                raise IndexError
            return self.labels[int(label)]
        except (IndexError, TypeError, ValueError):
            allowed = "a number" if self.is_regression else f"0 to {len(self.labels) - 1}"
            raise InputError(f"label {label!r} in column '{self.label_column}'; expected {allowed}") from None

    def possible_targets(self) -> Sequence[str]:
        """Every text a prediction should be: the label texts, or the numbers from 0.0 to 5.0."""
        return self.labels or [str(tenths / 10) for tenths in range(51)]


def get_task(name: str) -> Task:
    """A declared task by name.

    Raises:
        InputError: with the nearest valid name.
    """
    from hyperformer_cli.data.glue import GLUE
    from hyperformer_cli.miniature.tasks import MINIATURE

    declared = {**GLUE, **MINIATURE}
    if name not in declared:
        raise InputError(f"unknown task '{name}'; {did_you_mean(name, declared)}")
    return declared[name]
