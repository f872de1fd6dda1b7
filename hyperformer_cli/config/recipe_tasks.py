"""The tasks that a recipe names or defines."""

from collections.abc import Sequence

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.task_entries import TaskEntry
from hyperformer_cli.errors import InputError
from hyperformer_cli.tasks.registry import check_is_new, get_task
from hyperformer_cli.tasks.task import Task


def recipe_tasks(recipe: Recipe) -> list[Task]:
    """A recipe's tasks, in its order.

    Raises:
        InputError: an unknown name, or a definition under a shipped task's name; with file and line.
    """
    return _resolve(recipe, recipe.tasks, "tasks")


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
