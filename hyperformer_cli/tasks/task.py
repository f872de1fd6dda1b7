"""A task as data: where its rows are, how a row becomes input and target text, how it is split and scored."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from hyperformer_cli.bundled import BUNDLED
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.schema.section import LONGEST_NAME, SPLITS, Distinct, Positive, Section, SplitName, no_duplicates
from hyperformer_cli.tasks.conversation import Conversation, Message, split_messages
from hyperformer_cli.tasks.metrics import DEFAULT_METRICS, METRICS, Kind
from hyperformer_cli.tasks.template import checked_template, fill_template, template_columns

_MAX_LENGTHS = {"labels": None, "numbers": 10, "text": 128}  # of targets that cannot be listed
_MOST_NUMBERS = 10_000  # of a range


def _can_be_told_apart(labels: list[str] | dict[str, str]) -> list[str] | dict[str, str]:
    for text in no_duplicates(list(labels.values() if isinstance(labels, dict) else labels)):
        if not text or text != text.strip():
            raise ValueError(f"{text!r} is empty or has spaces around it")
    return labels


def _can_be_listed(bounds: list[float]) -> list[float]:
    low, high = bounds
    if not (math.isfinite(high - low) and low < high):
        raise ValueError(f"{bounds}: give two numbers, the lower one first")
    if any(abs(10 * bound - round(10 * bound)) > 1e-6 for bound in bounds):
        raise ValueError(f"{bounds}: numbers are written to one decimal")
    if 10 * (high - low) > _MOST_NUMBERS:
        raise ValueError(f"{bounds}: too many numbers to list; leave range out")
    return bounds


def _is_in_the_table(metric: str) -> str:
    if metric not in METRICS:
        raise ValueError(f"unknown metric '{metric}'; {did_you_mean(metric, METRICS)}")
    return metric


Template = Annotated[str, Field(min_length=1), AfterValidator(checked_template)]
Labels = Annotated[list[str] | dict[str, str], Field(min_length=2), AfterValidator(_can_be_told_apart)]
Bounds = Annotated[list[float], Field(min_length=2, max_length=2), AfterValidator(_can_be_listed)]
MetricName = Annotated[str, AfterValidator(_is_in_the_table)]


class Task(Section):
    """One task, shipped or a user's own.

    Its rows come from `files`, from `path` (a data set on the hub), or, with neither, from `data.source`. It predicts
    one of `labels`, a free text (`target`), or, with neither, the number in `label_column`. Defaults that depend on
    other fields are filled in when the task is made.

    Attributes:
        name: what recipes and tables call the task.
        template: the input text; columns in braces, `{choices[text][0]}` for what lies inside one.
        files: a CSV, TSV, JSONL or parquet file per split.
        path: a data set on the hub, or `bundled` for data in the package.
        configuration: name of a part of the data set on the hub, such as `mrpc` of `nyu-mll/glue`.
        revision: branch, tag or commit of the data set on the hub.
        label_column: the column of the label, or of the number.
        labels: what the column holds, as text (`0`, `1.5`, `true`); or a mapping from that to the text the model
            writes.
        label_names: what people call the labels, in their order; the texts by default.
        target: template of a free text to write, such as a translation.
        messages: in place of `template` and `target`, a column with a conversation: a list of `role` and `content`.
            The last message, the assistant's, is the text to write.
        range: lowest and highest of the numbers, which are then listed to one decimal; without it they may be any.
        metrics: names in `METRICS`, the task's principal one first; those of its kind by default.
        split_rule: `own` (a split for each role), `halved` or `carved`; see `data/splits.py`. By default `own`, or
            `halved` where there is no validation or no test split.
        source_splits: which of the data set's splits plays each role, where their names do not say so.
        sizes: rows of the data set's splits, by its own names for them: what a dry run shows without the data.
        prefix: what plain fine-tuning puts before the input; the name by default.
        similar_to: the trained task whose embedding (or adapter) few-shot transfer starts from.
        max_target_length: tokens of the longest target. Targets that can be listed need none; by default 10 for other
            numbers, 128 for text. It is how long predictions of text may be; targets of text are also cut at
            `data.max_target_length` in training.
        num_beams: width of beam search; 1 is greedy.
        drops_unlabelled: rows labelled -1 are not part of the data set.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=LONGEST_NAME)
    template: Template
    files: dict[str, str] | None = Field(default=None, min_length=1)
    path: str | None = None
    configuration: str | None = None
    revision: str = "main"
    label_column: str = "label"
    labels: Labels | None = None
    label_names: Annotated[list[str], Distinct] = Field(default=[])
    target: Template | None = None
    messages: str | None = Field(default=None, min_length=1)
    range: Bounds | None = None
    metrics: list[MetricName] = Field(default=[], min_length=1)
    split_rule: Literal["own", "halved", "carved"] | None = None
    source_splits: dict[SplitName, str] = Field(default={})
    sizes: dict[str, Positive] = Field(default={})
    prefix: str | None = None
    similar_to: str | None = None
    max_target_length: Positive | None = None
    num_beams: Positive = 1
    drops_unlabelled: bool = False

    @property
    def kind(self) -> Kind:
        """What is predicted: `labels`, `numbers` or `text`."""
        return "labels" if self.labels is not None else "text" if self.target is not None else "numbers"

    @property
    def is_free_text(self) -> bool:
        return self.kind == "text"

    @property
    def is_regression(self) -> bool:
        return self.kind == "numbers"

    @property
    def is_bundled(self) -> bool:
        """Whether the package itself holds the data."""
        return self.path == BUNDLED

    @property
    def label_values(self) -> tuple[str, ...]:
        """What the label column holds, as text."""
        return tuple(self.labels or ())

    @property
    def label_texts(self) -> tuple[str, ...]:
        """What the model writes for each label."""
        return tuple(self.labels.values()) if isinstance(self.labels, dict) else self.label_values

    @property
    def text_columns(self) -> list[str]:
        """The columns of the input text, and of a free text to write."""
        return [self.messages] if self.messages else template_columns(self.template + (self.target or ""))

    @property
    def columns(self) -> list[str]:
        """The columns a row must have."""
        return self.text_columns if self.is_free_text else [*self.text_columns, self.label_column]

    def input_template(self, with_prefix: bool) -> str:
        """The encoder's text as a template; `with_prefix` puts the task's name in front, as plain fine-tuning does."""
        prefix = (self.prefix or self.name).replace("{", "{{").replace("}", "}}")
        return f"{prefix} {self.template}" if with_prefix else self.template

    def input_text(self, row: Mapping[str, Any], with_prefix: bool) -> str:
        """The encoder's text for a row, in training and in prediction.

        Raises:
            InputError: a column is missing or null, or what the template takes from it is not text.
        """
        return fill_template(self.input_template(with_prefix), row)

    def model_input(self, row: Mapping[str, Any], with_prefix: bool) -> str | Conversation:
        """What a model reads for a row: its text, or its conversation where `messages` is given."""
        if self.messages is None:
            return self.input_text(row, with_prefix)
        conversation, _ = split_messages(row.get(self.messages), self.messages)
        if not with_prefix:
            return conversation
        *before, last = conversation.messages
        named: Message = {**last, "content": f"{self.prefix or self.name} {last['content']}"}
        return Conversation((*before, named))

    def target_text(self, row: Mapping[str, Any]) -> str:
        """The decoder's text: a label text, a free text, or a number to one decimal (the reference's round(label, 1)).

        Raises:
            InputError: the label is missing or not one of the task's; or as `input_text`.
        """
        if self.messages is not None:
            answer = split_messages(row.get(self.messages), self.messages)[1]
            if answer is None:
                raise InputError(f"column '{self.messages}': the last message is not the assistant's")
            return answer
        if self.target is not None:
            return fill_template(self.target, row)
        label = row[self.label_column]
        text = self._number_text(label) if self.labels is None else self._label_text(label)
        if text is None:
            raise InputError(f"label {label!r} in column '{self.label_column}'; expected {self._expected()}")
        return text

    def _expected(self) -> str:
        if self.labels is not None:
            return ", ".join(self.labels)
        return "a number" if self.range is None else "a number from {:g} to {:g}".format(*self.range)

    def _label_text(self, label: Any) -> str | None:
        texts = dict(zip(self.label_values, self.label_texts, strict=True))
        return next((texts[reading] for reading in _readings(label) if reading in texts), None)

    def _number_text(self, label: Any) -> str | None:
        low, high = self.range or (-math.inf, math.inf)
        try:
            number = round(float(label), 1) if math.isfinite(label) else math.nan
        except (TypeError, OverflowError):
            return None
        if isinstance(label, bool):
            return None
        number += 0.0  # -0.0 is 0.0
        return str(number) if low <= number <= high else None

    def possible_targets(self) -> Sequence[str]:
        """Every text that a prediction should be: the label texts, or the numbers of the range; else none."""
        if self.range is None:
            return self.label_texts
        first, last = (round(10 * bound) for bound in self.range)
        return [str(tenths / 10) for tenths in range(first, last + 1)]

    def parse_prediction(self, text: str) -> int | float | str | None:
        """The label's place among the labels, the number, or the text; None if it is neither label nor number.

        Spaces around it do not count.
        """
        text = text.strip()
        if self.is_free_text:
            return text
        if self.labels is not None:
            return self.label_texts.index(text) if text in self.label_texts else None
        try:
            number = float(text)
        except ValueError:
            return None
        return number if math.isfinite(number) else None

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, given: Any) -> Any:
        """As in the recipes that earlier versions wrote."""
        if not isinstance(given, dict):
            return given
        if isinstance(column := given.get("messages"), str) and column:
            for key in ("template", "target"):
                if given.get(key) not in (None, f"{{{column}}}"):
                    raise ValueError(f"messages: the column holds input and target; leave out {key}")
            given = {**given, "template": f"{{{column}}}", "target": f"{{{column}}}"}
        return {key: value for key, value in given.items() if value is not None or key not in cls.model_fields}

    @model_validator(mode="after")
    def _parts_go_together(self) -> "Task":
        if self.files is not None and self.path is not None:
            raise ValueError("give files or path, not both")
        if self.labels is not None and self.target is not None:
            raise ValueError("give labels or target, not both")
        if self.range is not None and self.kind != "numbers":
            raise ValueError(f"range: is for a task that predicts numbers; this one predicts {self.kind}")
        labels = len(self.label_texts)
        if self.label_names and len(self.label_names) != labels:
            raise ValueError(f"label_names: {len(self.label_names)} names for {labels} labels")
        for name in self.metrics:
            metric = METRICS[name]
            if metric.scores != self.kind:
                fitting = ", ".join(other for other, own in METRICS.items() if own.scores == self.kind)
                raise ValueError(f"metrics: '{name}' does not score {self.kind}; use {fitting}")
            if metric.label_count not in (None, labels):
                raise ValueError(f"metrics: '{name}' needs exactly {metric.label_count} labels, found {labels}")
        self._check_splits()
        return self

    def _check_splits(self) -> None:
        roles = ", ".join(SPLITS)
        if self.source_splits and len(self.source_splits) < len(SPLITS):
            raise ValueError(f"source_splits: name the split of every role: {roles}")
        for key, given in (("files", self.files or {}), ("sizes", self.sizes)):
            for split in self.source_splits.values() if given else ():
                if split not in given:
                    raise ValueError(f"source_splits: no split '{split}'; {did_you_mean(split, given)}")
            if not given or self.source_splits:
                continue
            for split in given:
                if split not in SPLITS:
                    raise ValueError(f"{key}: '{split}' is none of {roles}; say in source_splits what it is for")
            if "train" not in given or len(given) < 2:
                raise ValueError(
                    "needs a train split, and a validation or a test split; if one of the two is missing, the other is "
                    "halved"
                )
        if self.source_splits:
            return
        splits = len(self.files or self.sizes or SPLITS)
        if self.split_rule == "own" and splits == 2:
            raise ValueError("split_rule: own needs a validation and a test split (or source_splits)")
        if self.split_rule in ("halved", "carved") and self.files is not None and splits == 3:
            raise ValueError(f"split_rule: {self.split_rule} uses train and one other file; leave out the third")

    @model_validator(mode="after")
    def _fill_in_defaults(self) -> "Task":
        present = self.files or self.sizes or SPLITS
        held_out = [split for split in ("validation", "test") if split in present]
        roles = self.source_splits or {"train": "train", "validation": held_out[0], "test": held_out[-1]}
        defaults: dict[str, Any] = {
            "label_names": list(self.label_texts),
            "metrics": list(DEFAULT_METRICS[self.kind]),
            "source_splits": roles,
            "split_rule": "halved" if roles["validation"] == roles["test"] else "own",
            "max_target_length": None if self.range else _MAX_LENGTHS[self.kind],
        }
        for key, value in defaults.items():
            if not getattr(self, key):
                object.__setattr__(self, key, value)  # the model is frozen
        return self


def _readings(label: Any) -> tuple[str, ...]:
    """A label as files write it: `true` or `1` for a truth value, `1` for 1.0 and for the text `1.0`."""
    if label is None:
        return ()
    if isinstance(label, bool):
        return str(label).lower(), str(int(label))
    whole = re.fullmatch(r"(-?\d+)\.0*", str(label))
    return (str(label), whole[1]) if whole else (str(label),)
