"""Tasks of the user's own, written where a recipe lists tasks: a template over columns, and what the targets are."""

from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from hyperformer_cli.config.section import Positive, Section, Split

Metric = Literal["accuracy", "f1", "matthews_correlation", "pearson", "spearmanr", "bleu"]
_METRICS_OF: dict[str, tuple[str, ...]] = {
    "labels": ("accuracy", "f1", "matthews_correlation"),
    "numbers": ("pearson", "spearmanr"),
    "text": ("bleu",),
}


class TaskDefinition(Section):
    """One task: where its rows are, how a row becomes text, what is to be predicted.

    Rows come from `files` (CSV, TSV, JSONL or parquet), from `path` (a data set on the hub), or, with neither, from
    `data.source` like those of any declared task. What is predicted is one of `labels` (what stands in `label_column`,
    or a mapping of that to the text the model is to write), a free text (`target`, a template), or, with neither, the
    number in `label_column`.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    template: str = Field(min_length=1)
    files: dict[Split, str] | None = None
    path: str | None = None
    configuration: str | None = None
    revision: str = "main"
    label_column: str = "label"
    labels: list[str] | dict[str, str] | None = Field(None, min_length=2)
    target: str | None = None
    metrics: list[Metric] | None = Field(None, min_length=1)
    split_rule: Literal["own", "halved", "carved"] | None = None
    sizes: dict[Split, Positive] | None = None
    prefix: str | None = None
    similar_to: str | None = None
    max_target_length: Positive | None = None

    @property
    def kind(self) -> str:
        """What is predicted: `labels`, `numbers` or `text`."""
        return "labels" if self.labels is not None else "text" if self.target is not None else "numbers"

    @field_validator("template", "target")
    @classmethod
    def _names_columns(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            fields = [field for field in Formatter().parse(value) if field[1] is not None]
        except ValueError as error:
            raise ValueError(
                f"not a template ({error}); write braces that are meant as text twice: {{{{ }}}}"
            ) from None
        if not fields or not all(name for _, name, _, _ in fields):
            raise ValueError("name columns in braces, such as 'title: {title} text: {text}'")
        for _, name, form, conversion in fields:
            if "." in name or form or conversion:
                raise ValueError(f"'{{{name}}}': only columns, and what lies in them: {{text}}, {{choices[text][0]}}")
        return value

    @model_validator(mode="after")
    def _parts_go_together(self) -> "TaskDefinition":
        if self.files is not None and self.path is not None:
            raise ValueError("give files or path, not both")
        if self.labels is not None and self.target is not None:
            raise ValueError("give labels or target, not both")
        for given in (self.files, self.sizes):
            if given is not None and ("train" not in given or len(given) < 2):
                raise ValueError(
                    "needs a train split, and validation or test; one of them is halved if the other lacks"
                )
        held_out = [split for split in self.files or self.sizes or () if split != "train"]
        if self.split_rule == "own" and len(held_out) == 1:
            raise ValueError("split_rule: own needs a validation and a test split")
        if self.split_rule in ("halved", "carved") and self.files is not None and len(held_out) == 2:
            raise ValueError(f"split_rule: {self.split_rule} uses train and one other file; leave out the third")
        texts = list(self.labels.values()) if isinstance(self.labels, dict) else self.labels or []
        odd = [text for text in texts if not text or text != text.strip()]
        if odd:
            raise ValueError(f"labels: {odd[0]!r} is empty or has spaces around it")
        if len(set(texts)) < len(texts):
            raise ValueError(f"labels: a text stands twice in {texts}")
        fitting = _METRICS_OF[self.kind]
        for metric in self.metrics or ():
            if metric not in fitting:
                raise ValueError(f"metrics: '{metric}' does not score {self.kind}; use {', '.join(fitting)}")
        if self.metrics and "f1" in self.metrics and len(texts) != 2:
            raise ValueError("metrics: f1 is that of the second of two labels")
        return self


def _kind_of_entry(entry: Any) -> str:
    return "definition" if isinstance(entry, dict | TaskDefinition) else "name"


# A task in a list: the name of a declared one, or a definition.
TaskEntry = Annotated[
    Annotated[str, Tag("name")] | Annotated[TaskDefinition, Tag("definition")], Discriminator(_kind_of_entry)
]
ENTRY_TAGS = ("name", "definition")


def entry_name(entry: Any) -> Any:
    """The name of a task in a list, checked or not."""
    return entry.name if isinstance(entry, TaskDefinition) else entry.get("name") if isinstance(entry, dict) else entry
