"""How many examples a task's splits have, before any of them is tokenised: for plans."""

from collections.abc import Sequence

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.data.loading import select_rows
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of
from hyperformer_cli.data.tokenization import formatted_rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.schema.section import SplitName
from hyperformer_cli.tasks.task import Task


def sizes_are(recipe: Recipe, tasks: Sequence[Task]) -> str:
    """`declared` or `counted`, or both where some tasks have files of their own."""
    ways = {"declared" if recipe.data.source == "hub" and task.files is None else "counted" for task in tasks}
    return " and ".join(sorted(ways))


def split_size(recipe: Recipe, task: Task, split: SplitName) -> int:
    """Examples of a role: counted, or from the published sizes where the data are on the hub.

    Raises:
        InputError: the size is unknown, or as training would: a row that is counted is refused, or a file.
    """
    source = source_split_of(task, split)
    if recipe.data.source == "hub" and task.files is None:
        if source not in task.sizes:
            raise InputError(f"task '{task.name}': the size of its {source} split is unknown; state its sizes")
        rows = task.sizes[source]
    else:
        found = load_rows(task, source, recipe.data.source)
        rows = found.table.num_rows
        for _ in formatted_rows(task, found, recipe.adapter.needs_task_prefix):
            pass  # text by text, as training reads them
    return len(select_rows(task, split, recipe.data, rows, recipe.seed))
