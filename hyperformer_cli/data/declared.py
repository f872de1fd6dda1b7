"""The tasks that are declared, by name."""

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.data.glue import GLUE
from hyperformer_cli.data.question_answering import QUESTION_ANSWERING
from hyperformer_cli.data.tasks import Task
from hyperformer_cli.data.transfer_targets import TRANSFER_TARGETS
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.miniature.tasks import MINIATURE


def declared_tasks() -> dict[str, Task]:
    """Every task, in the order in which lists show them."""
    return {**GLUE, **TRANSFER_TARGETS, **QUESTION_ANSWERING, **MINIATURE}


def get_task(name: str) -> Task:
    """A declared task by name.

    Raises:
        InputError: with the nearest valid name.
    """
    tasks = declared_tasks()
    if name not in tasks:
        raise InputError(f"unknown task '{name}'; {did_you_mean(name, tasks)}")
    return tasks[name]


def recipe_tasks(recipe: Recipe) -> list[Task]:
    """The declarations of a recipe's tasks, in its order.

    Raises:
        InputError: an unknown name, with the line it stands on.
    """
    tasks = []
    for i, name in enumerate(recipe.tasks):
        try:
            tasks.append(get_task(name))
        except InputError as error:
            raise InputError(f"{recipe.where(f'tasks.{i}')}: tasks: {error}") from None
    return tasks
