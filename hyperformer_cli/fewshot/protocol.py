"""What a transfer does before any of it is done: cells, the examples each draws, the task each starts from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hyperformer_cli.config.fewshot import AUTO, PAPER, RANDOM, FewshotSection
from hyperformer_cli.config.recipe import DataSection, Recipe
from hyperformer_cli.data.splits import permutation, source_split_of, split_rows
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.tasks.task import Task


@dataclass(frozen=True)
class Cell:
    """One training: so many examples of a task, drawn and trained with a seed."""

    task: str
    shots: int
    seed: int


def cells_of(task: Task, settings: FewshotSection, available: int, strict: bool) -> list[Cell]:
    """The cells of one target, sizes outside, seeds inside.

    Args:
        task: the target.
        settings: sizes and seeds.
        available: its training examples.
        strict: refuse sizes above that; otherwise one of them remains, with all there are, as in the paper for CB.

    Raises:
        InputError: more examples are asked for than there are.
    """
    sizes = [size for size in settings.sizes if size <= available]
    if strict and len(sizes) < len(settings.sizes):
        raise InputError(f"'{task.name}' has {available} training examples, fewer than {max(settings.sizes)}")
    if len(sizes) < len(settings.sizes) and available not in sizes:
        sizes.append(available)
    return [Cell(task.name, size, seed) for size in sizes for seed in settings.seeds]


def training_rows(task: Task, data: DataSection, rows: int) -> Sequence[int]:
    """Row numbers that training may use, of a data set's training split with `rows` rows."""
    chosen = split_rows(task, "train", {source_split_of(task, "train"): rows}, data.protocol).indices
    return range(rows) if chosen is None else chosen


def draw(available: Sequence[int], cell: Cell) -> list[int]:
    """The rows of a cell: the same for every method and start; a smaller cell's are among a larger one's."""
    return [available[i] for i in permutation(len(available), cell.seed)[: cell.shots]]


def starting_task(task: Task, init_from: str, trained: Sequence[str]) -> str | None:
    """The trained task a target starts from; None for a new embedding. `auto` is not decided here.

    Raises:
        InputError: the run has no such task, or the paper names none.
    """
    if init_from == RANDOM:
        return None
    if init_from != PAPER:
        if init_from not in trained:
            raise InputError(f"--init-from: the run has no task '{init_from}'; {did_you_mean(init_from, trained)}")
        return init_from
    other = f"give --init-from one of {', '.join(trained)}, {AUTO} or {RANDOM}"
    if task.similar_to is None:
        raise InputError(f"no task is known to be most similar to '{task.name}'; {other}")
    if task.similar_to not in trained:
        raise InputError(f"'{task.name}' starts from '{task.similar_to}', which the run was not trained on; {other}")
    return task.similar_to


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """What a cell's outcome depends on besides the run, its task, size and seed."""
    fewshot, training, evaluation = recipe.fewshot, recipe.training, recipe.evaluation
    return {
        "start": fewshot.init_from,
        **fewshot.model_dump(include={"train", "max_steps", "batch_size", "learning_rate", "schedule", "warmup_steps"}),
        **training.model_dump(include={"label_smoothing", "loss_reduction", "max_grad_norm", "precision"}),
        **evaluation.model_dump(include={"max_examples", "num_beams"}),
        **recipe.data.model_dump(include={"protocol", "max_source_length", "max_target_length"}),
    }
