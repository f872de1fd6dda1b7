"""The tasks that a recipe names or defines."""

from collections.abc import Sequence

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.task_entries import TaskEntry
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.tasks.registry import check_is_new, get_task
from hyperformer_cli.tasks.task import Task


def recipe_tasks(recipe: Recipe) -> list[Task]:
    """A recipe's tasks, in its order.

    Raises:
        InputError: an unknown name, a definition under a shipped task's name, or an `evaluation.metric` that no task
            has; with file and line.
    """
    tasks = _resolve(recipe, recipe.tasks, "tasks")
    if chosen := recipe.evaluation.chosen_metric:
        _check_metric(recipe, *chosen, tasks)
    return tasks


def _check_metric(recipe: Recipe, name: str, metric: str, tasks: Sequence[Task]) -> None:
    at, metrics = f"{recipe.where('evaluation.metric')}: evaluation.metric", {task.name: task.metrics for task in tasks}
    if name not in metrics:
        raise InputError(f"{at}: the recipe has no task '{name}'; {did_you_mean(name, metrics)}")
    if metric not in metrics[name]:
        raise InputError(
            f"{at}: task '{name}' is not scored by '{metric}' but by {', '.join(metrics[name])}; add it to its metrics"
        )


def target_tasks(recipe: Recipe) -> list[Task]:
    """The targets of a recipe's few-shot transfer; raises as `recipe_tasks` does."""
    return [] if recipe.fewshot is None else _resolve(recipe, recipe.fewshot.target_tasks, "fewshot.target_tasks")


def _resolve(recipe: Recipe, entries: Sequence[TaskEntry], key: str) -> list[Task]:
    tasks = []
    for i, entry in enumerate(entries):
        try:
            tasks.append(get_task(entry) if isinstance(entry, str) else check_is_new(entry))
        except InputError as error:
            raise InputError(f"{recipe.where(f'{key}.{i}')}: {key}: {error}") from None
    return tasks
