"""The recipe: everything that determines a run, as pydantic models that know no torch."""

import copy
import math
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.config.fewshot import FewshotSection, Seed
from hyperformer_cli.config.sections import (
    DataSection,
    EvaluationSection,
    ModelSection,
    PaperRow,
    SweepSection,
    TrainingSection,
)
from hyperformer_cli.config.task_entries import TaskEntry, entry_name
from hyperformer_cli.errors import did_you_mean
from hyperformer_cli.schema.section import Section

_LONGEST_PART = 200  # bytes of a folder's name: file systems take 255, and temporary names are longer


class Recipe(Section):
    """One run, resolved: a recipe file, what it extends, and overrides on the command line.

    Attributes:
        name: the run's name, in tables and in its folder's name.
        paper: which row of the paper this reproduces, and what is printed there. For reports only.
        model: the backbone, the language model whose weights stay frozen.
        adapter: the method and what it trains.
        tasks: names of shipped tasks, definitions of new ones, or paths of YAML files with one, from the recipe's
            folder.
        joint: train one model on all tasks; `false` trains each task alone and reports them as one row.
        data: where examples come from and how they are cut.
        training: how the optimization proceeds: steps, batches, learning rate, precision, checkpoints.
        evaluation: which splits are evaluated, when, and how a model answers.
        sweep: a grid of values; each combination is a run of its own.
        fewshot: transfer of the trained run to tasks it has not seen.
        seed: what initial weights, batches and dropout are drawn with. Splits do not depend on it.
        output_dir: the run folder; `outputs/<name>` if it is empty.
    """

    name: str = Field(min_length=1)
    paper: PaperRow | None = None
    model: ModelSection
    adapter: AdapterConfig
    tasks: list[TaskEntry] = Field(min_length=1)
    joint: bool = True
    data: DataSection = DataSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    sweep: SweepSection | None = None
    fewshot: FewshotSection | None = None
    seed: Seed = 42
    output_dir: str = Field(default="", validate_default=True)

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)  # before defaults were filled in
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _adapter_knows_the_tasks(cls, given: Any) -> Any:
        """`tasks` are a key of the recipe; the method needs them too."""
        if not isinstance(given, dict) or not isinstance(given.get("adapter"), dict):
            return given
        if "tasks" in given["adapter"]:
            raise ValueError("tasks belong at the top of the recipe, not under adapter")
        tasks = given.get("tasks")
        names = [entry_name(entry) for entry in tasks] if isinstance(tasks, list) else tasks
        return {**given, "adapter": {**given["adapter"], "tasks": names}}

    @model_validator(mode="after")
    def _options_go_together(self) -> "Recipe":
        if self.training.compile and self.model.gradient_checkpointing:
            raise ValueError("training.compile and model.gradient_checkpointing do not go together; use one of them")
        if self.training.shard_backbone and self.adapter.method == "finetune":
            raise ValueError("training.shard_backbone divides a frozen backbone, and method 'finetune' freezes none")
        if self.training.shard_backbone and self.evaluation.method == "rank":
            raise ValueError(
                "training.shard_backbone needs as many forward passes of all; use evaluation.method: generate"
            )
        if self.training.shard_backbone and self.training.compile:
            raise ValueError("training.compile and training.shard_backbone do not go together; use one of them")
        if self.training.head_learning_rate_scale != 1 and not self.adapter.has_hypernetwork:
            raise ValueError(
                f"training.head_learning_rate_scale: method '{self.adapter.method}' has no hypernetworks; leave it out"
            )
        if self.sweep is not None and self.sweep.select not in (None, *self.evaluation.splits):
            raise ValueError(f"sweep.select: {self.sweep.select} is not one of evaluation.splits")
        self._check_samples()
        self._check_probabilities()
        if self.adapter.method == "finetune" and self.model.dtype != "float32":
            raise ValueError("model.dtype is that of frozen weights, and finetune freezes none; use training.precision")
        return self

    def _check_samples(self) -> None:
        samples, key = self.data.samples_per_task, "data.samples_per_task"
        for task in samples if isinstance(samples, dict) else ():
            if task not in self.task_names:
                raise ValueError(f"{key}: the recipe has no task '{task}'; {did_you_mean(task, self.task_names)}")

    def _check_probabilities(self) -> None:
        given, key = self.data.sampling.probabilities, "data.sampling.probabilities"
        if given and not self.joint:
            raise ValueError(f"{key}: joint: false trains each task alone; leave it out")
        for task in given:
            if task not in self.task_names:
                raise ValueError(f"{key}: the recipe has no task '{task}'; {did_you_mean(task, self.task_names)}")
        total, is_all = math.fsum(given.values()), len(given) == len(self.task_names)
        if given and (abs(total - 1) > 1e-6 if is_all else total >= 1):
            rest = "they are of all tasks and must sum to 1" if is_all else "they leave nothing for the other tasks"
            raise ValueError(f"{key}: the sum is {total:g}; {rest}")

    @field_validator("output_dir")
    @classmethod
    def _named_after_the_recipe(cls, value: str, info: ValidationInfo) -> str:
        name = info.data.get("name", "run")
        if not value and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise ValueError(f"the name {name!r} leads out of outputs/; give an output_dir")
        folder = value or str(Path("outputs") / name)
        for part in Path(folder).parts:
            if len(part.encode(errors="replace")) > _LONGEST_PART:
                raise ValueError(f"{part[:20]}... is too long for a folder's name ({len(part)} characters)")
            if "\0" in part:
                raise ValueError("a folder's name cannot hold a null character")
        return folder

    @property
    def task_names(self) -> list[str]:
        """The tasks' names, in the order of their ids."""
        return self.adapter.tasks

    def where(self, key: str) -> str:
        """`file:line` (or the override) that a dotted key's value came from, for error messages."""
        while key and key not in self._origins:
            key = key.rpartition(".")[0]
        return self._origins.get(key, self.name)

    def given(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Copies of the values this recipe was built from, and of where each came from."""
        return copy.deepcopy(self._given), dict(self._origins)

    def as_dict(self) -> dict[str, Any]:
        """Plain values under the recipe's own keys; `load_recipe` reads them again."""
        return self.model_dump(exclude={"adapter": {"tasks"}})
