"""`OpenedRun`: the one way in which a run is opened."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.adapters.stored import is_of_weights
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.data.loading import checked_tokenizer, tokenization
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.storage.manifest import check_files
from hyperformer_cli.storage.static import STATIC
from hyperformer_cli.storage.trained import read_description
from hyperformer_cli.tasks.task import Task

_FOR_PEOPLE = ("README.md", "recipe.yaml", "results.json")  # files of an export that may be edited


class OpenedRun:
    """A run folder, or an export that holds a model of ours; it may consist of parts (see `config.cells`).

    Its recipe is read at once; model and tokenizer are loaded when they are first used.

    Args:
        path: the folder.
        weights: `best` or `last`.
        backbone: a folder with the model the run was trained on, if that model has moved.
        overrides: `dotted.key=value` changes to the recipe.

    Attributes:
        folder: the paths of its files.
        recipe: the resolved recipe, with the overrides.
        declared: all tasks of the recipe, by name.
        has_one_model: whether one model answers all tasks; False if each task was trained alone.

    Raises:
        InputError: the folder is not a run, or its recipe is damaged.
    """

    def __init__(self, path: Path, weights: str = "best", backbone: Path | None = None, overrides: Sequence[str] = ()):
        self.path, self.folder = path, RunFolder(path)
        self.recipe = self.folder.recipe(overrides)
        self.declared = {task.name: task for task in recipe_tasks(self.recipe)}
        self.weights, self.overrides, self._backbone = weights, overrides, backbone
        self._part_folders = self.folder.parts(self.recipe)
        self.has_one_model = "" in self._part_folders
        self._parts: dict[str, OpenedRun] = {}

    def part(self, task: str) -> "OpenedRun":
        """The run whose model answers a task: this one, or the run of that task alone.

        Raises:
            InputError: the run has no such task, or its part is missing or damaged.
        """
        if task not in self.tasks:
            raise InputError(f"the run has no task '{task}'; {did_you_mean(task, self.tasks)}")
        if self.has_one_model:
            return self
        if task not in self._parts:
            path = self._part_folders[task].path
            self._parts[task] = OpenedRun(path, self.weights, self._backbone, self.overrides)
        return self._parts[task]

    def parts(self, tasks: Sequence[str] | None = None) -> dict[str, "OpenedRun"]:
        """The runs that hold the models, by name (see `config.cells`); only those of some tasks, if these are given.

        Raises:
            InputError: the run has no such task, or a part is missing or damaged.
        """
        for task in tasks or ():
            self.part(task)
        if self.has_one_model:
            return {"": self}
        return {task: self.part(task) for task in self.declared if tasks is None or task in tasks}

    def with_one_model(self) -> "OpenedRun":
        """This run if one model answers all its tasks, else an InputError that names the first part."""
        if not self.has_one_model:
            first = next(iter(self._part_folders.values())).path
            raise InputError(f"{self.path}: holds one model per task; give one of them, such as {first}")
        return self

    @property
    def weights_folder(self) -> Path:
        """The folder of the trained weights; an InputError without any, or with one model per task."""
        return self.with_one_model().folder.weights(self.weights)

    @property
    def is_static(self) -> bool:
        """Whether it is an export whose adapters were generated before, to which no task can be added."""
        return read_description(self.weights_folder).weights == STATIC

    @cached_property
    def model(self) -> AdaptedModel:
        """The trained model, loaded on the CPU in evaluation mode; the same object every time.

        Raises:
            InputError: there are no weights yet, they are damaged, or the backbone is not the one they belong to.
        """
        return AdaptedModel.from_pretrained(self.weights_folder, self._given_backbone).eval()

    def unload(self) -> None:
        """Forgets the model, so that the models of many parts need not be in memory together."""
        self.__dict__.pop("model", None)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The run's tokenizer; an InputError if it cannot be loaded, or is not what the folder's manifest says."""
        folder = self.weights_folder
        check_files(folder, lambda file: not is_of_weights(file) and file not in _FOR_PEOPLE)
        try:
            return checked_tokenizer(AutoTokenizer.from_pretrained(folder, local_files_only=True), str(folder))
        except InputError:
            raise
        except Exception as error:  # OSError, ValueError, and what the tokenizers library raises of its own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"{folder}: no tokenizer that can be loaded ({reason})") from error

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks it can answer, by name, in the recipe's order; an export may have fewer than the recipe."""
        if not self.has_one_model:
            return self.declared
        return {name: task for name, task in self.declared.items() if name in self.model.tasks}

    @property
    def tokenization(self) -> Tokenization:
        """The tokenization of its training."""
        return tokenization(self.recipe, self.tokenizer, self.model.family.layout)

    def new_backbone(self) -> PreTrainedModel | None:
        """The given backbone, loaded anew; None if none was given, and the model loads the one it was trained on."""
        return None if self._given_backbone is None else load_backbone(self._given_backbone)

    @property
    def _given_backbone(self) -> BackboneSource | None:
        return None if self._backbone is None else BackboneSource(str(self._backbone))
