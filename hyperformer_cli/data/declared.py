"""Tasks by name: the declared ones, and those that a recipe defines itself."""

from collections.abc import Sequence

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.task_definition import TaskDefinition, TaskEntry
from hyperformer_cli.data.glue import GLUE
from hyperformer_cli.data.miniature_tasks import MINIATURE
from hyperformer_cli.data.question_answering import QUESTION_ANSWERING
from hyperformer_cli.data.tasks import SPLITS, Task
from hyperformer_cli.data.transfer_targets import TRANSFER_TARGETS
from hyperformer_cli.data.translation import TRANSLATION
from hyperformer_cli.errors import InputError, did_you_mean

_METRICS = {"labels": ("accuracy",), "numbers": ("pearson", "spearmanr"), "text": ("bleu",)}
_MAX_LENGTHS = {"labels": None, "numbers": 10, "text": 128}  # of targets that cannot be listed


def declared_tasks() -> dict[str, Task]:
    """Every declared task, in the order in which lists show them."""
    return {**GLUE, **TRANSFER_TARGETS, **QUESTION_ANSWERING, **TRANSLATION, **MINIATURE}


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
    """A recipe's tasks, in its order.

    Raises:
        InputError: an unknown name, with the line it stands on, or a definition under a declared task's name.
    """
    return _of_entries(recipe, recipe.tasks, "tasks")


def target_tasks(recipe: Recipe) -> list[Task]:
    """The targets of a recipe's few-shot transfer; raises as `recipe_tasks` does."""
    return [] if recipe.fewshot is None else _of_entries(recipe, recipe.fewshot.target_tasks, "fewshot.target_tasks")


def _of_entries(recipe: Recipe, entries: Sequence[TaskEntry], key: str) -> list[Task]:
    tasks = []
    for i, entry in enumerate(entries):
        try:
            tasks.append(get_task(entry) if isinstance(entry, str) else defined_task(entry))
        except InputError as error:
            raise InputError(f"{recipe.where(f'{key}.{i}')}: {key}: {error}") from None
    return tasks


def defined_task(definition: TaskDefinition) -> Task:
    """The task that a definition describes.

    A task with three splits uses them (`own`); of one with two, the second is halved into validation and test.

    Raises:
        InputError: its name is a declared task's.
    """
    if definition.name in declared_tasks():
        raise InputError(f"'{definition.name}' is declared already; give a task of your own another name")
    present = definition.files or definition.sizes or dict.fromkeys(SPLITS)
    held_out = [split for split in ("validation", "test") if split in present]
    labels = definition.labels or []
    mapped = dict(zip(labels, labels, strict=True)) if isinstance(labels, list) else labels
    return Task(
        name=definition.name,
        path=definition.path,
        configuration=definition.configuration,
        revision=definition.revision,
        template=definition.template,
        target_template=definition.target,
        labels=tuple(mapped.values()),
        label_values=tuple(mapped) or None,
        label_column=definition.label_column,
        metrics=tuple(definition.metrics or _METRICS[definition.kind]),
        split_rule=definition.split_rule or ("own" if len(held_out) == 2 else "halved"),
        sizes=definition.sizes or {},
        source_splits={"train": "train", "validation": held_out[0], "test": held_out[-1]},
        prefix=definition.prefix,
        similar_to=definition.similar_to,
        max_target_length=definition.max_target_length or _MAX_LENGTHS[definition.kind],
        files=definition.files,
    )
