"""A trained run, opened for prediction: its tasks, and the weights that answer each."""

from collections.abc import Mapping
from pathlib import Path

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.data.loading import tokenization
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.errors import InputError
from hyperformer_cli.prediction.predictor import Predictor
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.trained import load_trained_run
from hyperformer_cli.tasks.task import Task


class TrainedRun:
    """A run folder or an export: a folder with a recipe whose `best/`, or which itself, holds a trained model.

    A run whose tasks were trained each alone has a model a task; they are loaded when first asked for, and kept.

    Args:
        folder: the run or the export.
        batch_size: examples at a time; the run's `evaluation.batch_size` by default.
        with_scores: whether labels get scores.
        backbone: a folder with the model it was trained on, where that is no longer where it was.

    Attributes:
        recipe: the run's.
        tasks: what can be predicted, by name.

    Raises:
        InputError: the folder is neither, or damaged; or there are several processes.
    """

    def __init__(
        self, folder: Path, batch_size: int | None = None, with_scores: bool = True, backbone: Path | None = None
    ):
        self._run, self._options = RunFolder(folder), (batch_size, with_scores, backbone)
        self.recipe: Recipe = self._run.recipe()
        self._cells: dict[str, TrainedRun] = {}
        declared = recipe_tasks(self.recipe)
        self._predictor = _load(self._run, self.recipe, declared, *self._options) if self.recipe.joint else None
        self.tasks: Mapping[str, Task] = (
            self._predictor.tasks if self._predictor is not None else {task.name: task for task in declared}
        )

    @property
    def batch_size(self) -> int:
        """Rows at a time."""
        return self._options[0] or self.recipe.evaluation.batch_size

    @property
    def with_prefix(self) -> bool:
        """Whether inputs begin with the task's name."""
        return self.recipe.adapter.needs_task_prefix

    def predictor(self, task: str) -> Predictor:
        """What answers a task; the same object for tasks that can share a batch.

        Raises:
            InputError: the task's cell is missing or damaged.
        """
        if self._predictor is not None:
            return self._predictor
        if task not in self._cells:
            self._cells[task] = TrainedRun(self._run.cell(task=task).path, *self._options)
        return self._cells[task].predictor(task)


def _load(
    run: RunFolder,
    recipe: Recipe,
    declared: list[Task],
    batch_size: int | None,
    with_scores: bool,
    backbone: Path | None,
) -> Predictor:
    accelerator = make_accelerator(recipe.training.precision)
    if accelerator.num_processes > 1:
        raise InputError("predict runs in one process; give each its own part of the rows")
    model, tokenizer = load_trained_run(run, backbone=backbone)
    tasks = {task.name: task for task in declared if task.name in model.tasks}
    settings = recipe.evaluation
    if batch_size is not None:
        settings = settings.model_copy(update={"batch_size": batch_size})
    how = tokenization(recipe, tokenizer)
    return Predictor(model.to(accelerator.device), tasks, how, accelerator, settings, with_scores)
