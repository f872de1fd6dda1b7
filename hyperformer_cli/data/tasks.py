"""Tasks as data: where a data set lies, how a row becomes input and target text, how it is split and scored."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Literal, get_args

from hyperformer_cli.bundled import BUNDLED
from hyperformer_cli.config.recipe import Split
from hyperformer_cli.errors import InputError

SplitName = Split
CONVERTED = "refs/convert/parquet"  # the hub's own conversion of what was a loading script
SPLITS: tuple[SplitName, ...] = get_args(Split)


@dataclass(frozen=True)
class Task:
    """One task: declared here, or in a recipe.

    Attributes:
        name: what recipes call it.
        path, configuration, revision: the data set on the hub; no path for files of the user's own.
        template: the input text; columns in braces, `{choices[text][0]}` for what lies inside one.
        labels: the label texts; empty where the target is a number or a free text.
        metrics: names in `metrics`, the first the task's principal one.
        split_rule: `halved`, `carved` or `own`; see `splits`.
        source_splits: the data set's split that plays each role.
        sizes: rows of the data set's splits, as published: what a dry run shows where the data are not at hand.
        label_column: the column of the target.
        label_values: what stands in that column for each label; the integers from 0 by default.
        target_template: of a free text to generate, such as a translation; then there is no label column.
        max_target_length: tokens of the longest target, where labels do not tell.
        num_beams: for decoding.
        files: a file for each split of the data set, for tasks that bring their own.
        prefix: what plain fine-tuning puts before the input; the name by default.
        drops_unlabelled: rows labelled -1 are no part of the data set.
        label_names: what people call the labels; the label texts by default.
        similar_to: the trained task whose embedding (or adapter) few-shot transfer starts from.
    """

    name: str
    path: str | None
    configuration: str | None
    template: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    split_rule: Literal["halved", "carved", "own"]
    sizes: Mapping[str, int]
    source_splits: Mapping[str, str] = field(default_factory=lambda: {split: split for split in SPLITS})
    revision: str = "main"
    label_column: str = "label"
    label_values: tuple[int | str, ...] | None = None
    target_template: str | None = None
    max_target_length: int | None = None
    num_beams: int = 1
    files: Mapping[str, str] | None = None
    prefix: str | None = None
    drops_unlabelled: bool = False
    label_names: tuple[str, ...] = ()
    similar_to: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "label_names", self.label_names or self.labels)
        if len(self.label_names) != len(self.labels):
            raise ValueError(f"task '{self.name}': {len(self.label_names)} label names for {len(self.labels)} labels")

    @property
    def text_columns(self) -> list[str]:
        """The columns of the input text, and of a free text to generate."""
        template = self.template + (self.target_template or "")
        fields = [name for _, name, _, _ in Formatter().parse(template) if name]
        return list(dict.fromkeys(re.split(r"[.\[]", name)[0] for name in fields))

    @property
    def columns(self) -> list[str]:
        """The columns a row must have."""
        return self.text_columns if self.is_free_text else [*self.text_columns, self.label_column]

    @property
    def is_bundled(self) -> bool:
        """Whether the package itself holds the data."""
        return self.path == BUNDLED

    @property
    def is_free_text(self) -> bool:
        """Whether the target is neither a label nor a number."""
        return self.target_template is not None

    @property
    def is_regression(self) -> bool:
        return not self.labels and not self.is_free_text

    def input_template(self, with_prefix: bool) -> str:
        """The encoder's text as a template; `with_prefix` puts the task's name in front, as plain fine-tuning does."""
        prefix = (self.prefix or self.name).replace("{", "{{").replace("}", "}}")
        return f"{prefix} {self.template}" if with_prefix else self.template

    def input_text(self, row: Mapping[str, Any], with_prefix: bool) -> str:
        """The encoder's text for a row."""
        return self.input_template(with_prefix).format_map(row)

    def target_text(self, row: Mapping[str, Any]) -> str:
        """The decoder's text: a label text, a free text, or a number to one decimal (the reference's round(label, 1)).

        Raises:
            InputError: the label is missing or not one of the task's.
        """
        if self.is_free_text:
            return self.target_template.format_map(row)
        label = row[self.label_column]
        try:
            if self.is_regression:
                if not math.isfinite(label):
                    raise ValueError
                return str(round(float(label), 1))
            return self.labels[self._values().index(_as_text(label) if self.labels_are_read_as_text else label)]
        except (TypeError, ValueError):
            allowed = "a number" if self.is_regression else ", ".join(map(str, self._values()))
            raise InputError(f"label {label!r} in column '{self.label_column}'; expected {allowed}") from None

    @property
    def labels_are_read_as_text(self) -> bool:
        """Whether the label column is compared as text: a `1` is a number in a CSV file, and perhaps not in parquet."""
        return self.label_values is not None and all(isinstance(value, str) for value in self.label_values)

    def _values(self) -> tuple[int | str, ...]:
        return self.label_values or tuple(range(len(self.labels)))

    def possible_targets(self) -> Sequence[str]:
        """Every text a prediction should be: the label texts, or the numbers from 0.0 to 5.0; none for free text."""
        if self.is_free_text:
            return ()
        return self.labels or [str(tenths / 10) for tenths in range(51)]


def _as_text(label: Any) -> str:
    """A label as a file would write it: `true`, `1` for 1.0."""
    if isinstance(label, bool):
        return str(label).lower()
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
