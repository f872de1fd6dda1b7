"""`OpenedRun`: the one way in which a run is opened.

A run folder, an export that holds a model of ours, or a run whose tasks were trained each alone (`joint: false`): that
one has a model per task, each in a run folder of its own, its parts.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.data.loading import tokenization
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.tasks.task import Task


class OpenedRun:
    """A run, opened. Recipe and tasks are read at once; model and tokenizer are loaded when they are first asked for.

    Args:
        path: the run folder, or an export.
        weights: `best` or `last`.
        backbone: a folder with the model it was trained on, where that is no longer where it was.
        overrides: `dotted.key=value` changes to its recipe.

    Attributes:
        folder: its paths.
        recipe: resolved.
        declared: all tasks of the recipe, by name.

    Raises:
        InputError: the folder is no run, or its recipe is damaged.
    """

    def __init__(self, path: Path, weights: str = "best", backbone: Path | None = None, overrides: Sequence[str] = ()):
        self.folder = RunFolder(path)
        self.folder.recipe()  # says what is wrong with the folder, before its recipe is read with overrides
        self.recipe: Recipe = load_recipe(self.folder.recipe_file, overrides)
        self.declared: dict[str, Task] = {task.name: task for task in recipe_tasks(self.recipe)}
        self._weights, self._backbone, self._overrides = weights, backbone, overrides
        self._parts: dict[str, OpenedRun] = {}

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def has_one_model(self) -> bool:
        """Whether one model answers all tasks; False for tasks that were trained each alone."""
        return self.recipe.joint

    # Its models

    def part(self, task: str) -> "OpenedRun":
        """The run whose model answers a task: this one, or the run of that task alone.

        Raises:
            InputError: the run has no such task, or that part is missing or damaged.
        """
        if self.has_one_model:
            self.model.task_id(task)
            return self
        if task not in self.declared:
            raise InputError(f"the run has no task '{task}'; {did_you_mean(task, self.declared)}")
        if task not in self._parts:
            path = self.folder.cell(task=task).path
            self._parts[task] = OpenedRun(path, self._weights, self._backbone, self._overrides)
        return self._parts[task]

    def parts(self, tasks: Sequence[str] | None = None) -> dict[str, "OpenedRun"]:
        """The runs that hold the models: this one under the name "", or one per task under the task's name.

        Args:
            tasks: only the parts of these tasks.

        Raises:
            InputError: the run has no such task.
        """
        if self.has_one_model:
            for task in tasks or ():
                self.model.task_id(task)
            return {"": self}
        for task in tasks or ():
            if task not in self.declared:
                raise InputError(f"the run has no task '{task}'; {did_you_mean(task, self.declared)}")
        return {task: self.part(task) for task in self.declared if tasks is None or task in tasks}

    def with_one_model(self) -> "OpenedRun":
        """This run, if one model answers all its tasks.

        Raises:
            InputError: it has one model per task; the message names the first.
        """
        if not self.has_one_model:
            first = self.folder.cell(task=next(iter(self.declared))).path
            raise InputError(f"{self.path}: holds one model per task; give one of them, such as {first}")
        return self

    # What is loaded when it is asked for

    @cached_property
    def model(self) -> AdaptedModel:
        """The trained model, on the CPU, in evaluation mode.

        Raises:
            InputError: there are no weights yet, they are damaged, or the backbone is not the one they belong to.
        """
        weights = self.with_one_model().folder.weights(self._weights)
        return AdaptedModel.from_pretrained(weights, self.new_backbone()).eval()

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The run's tokenizer.

        Raises:
            InputError: it cannot be loaded.
        """
        folder = self.with_one_model().folder.weights(self._weights)
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # OSError, ValueError, and what the tokenizers library raises of its own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"{folder}: no tokenizer that can be loaded ({reason})") from error

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """What it can be asked, by name: the recipe's tasks; of one model those that it has, in its order."""
        if not self.has_one_model:
            return self.declared
        return {name: task for name, task in self.declared.items() if name in self.model.tasks}

    @property
    def tokenization(self) -> Tokenization:
        """How its text becomes token ids."""
        return tokenization(self.recipe, self.tokenizer)

    def new_backbone(self) -> PreTrainedModel | None:
        """The given backbone, loaded anew; None where it is loaded from where it was."""
        return None if self._backbone is None else load_backbone(BackboneSource(str(self._backbone)))
