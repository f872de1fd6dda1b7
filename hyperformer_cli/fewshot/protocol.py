"""What a transfer will do, before any of it is done: its trials, the examples and the starting task of each."""

from collections.abc import Sequence
from typing import Any

from hyperformer_cli.config.fewshot import AUTO, PAPER, RANDOM, FewshotSection
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.sections import DataSection, TrainingSection
from hyperformer_cli.data.splits import permutation, split_rows
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.runs.fewshot_files import FewShotTrial
from hyperformer_cli.tasks.task import Task


def fewshot_section(recipe: Recipe) -> FewshotSection:
    """The protocol that a recipe states; an InputError if it states none."""
    if recipe.fewshot is None:
        raise InputError(f"recipe '{recipe.name}' has no fewshot section")
    return recipe.fewshot


def check_are_new(targets: Sequence[Task], trained: Sequence[str]) -> None:
    """Raises InputError for a target that the run was trained on, and for a duplicate."""
    for number, task in enumerate(targets):
        if task.name in trained:
            raise InputError(f"'{task.name}' is a task the run was trained on, not a new one")
        if task in targets[:number]:
            raise InputError(f"duplicate target '{task.name}'")


def trials_of(task: Task, settings: FewshotSection, available: int, strict: bool) -> list[FewShotTrial]:
    """The trials of one target, ordered by shots, then by seed.

    Args:
        task: the target.
        settings: gives the numbers of shots (`sizes`) and the seeds.
        available: the number of the target's training examples.
        strict: refuse more shots than that; otherwise one trial per seed takes all of them, as in the paper for CB.

    Raises:
        InputError: with `strict`, there are fewer examples than shots.
    """
    if strict and max(settings.sizes) > available:
        raise InputError(f"'{task.name}' has {available} training examples, fewer than {max(settings.sizes)}")
    within = [shots for shots in settings.sizes if shots <= available]
    beyond = [available] if len(within) < len(settings.sizes) else []
    return [FewShotTrial(task.name, n, seed) for n in dict.fromkeys(within + beyond) for seed in settings.seeds]


def training_rows(task: Task, data: DataSection, rows: int) -> Sequence[int]:
    """The numbers of the rows that training may use, out of the `rows` of a data set's training split."""
    return split_rows(task, "train", rows, data.protocol)


def draw(available: Sequence[int], trial: FewShotTrial) -> list[int]:
    """The rows of a trial: the same for every method and start; with one seed, a subset of those of more shots."""
    return [available[i] for i in permutation(len(available), trial.seed)[: trial.shots]]


def starting_task(task: Task, init_from: str, trained: Sequence[str]) -> str | None:
    """The trained task that a target starts from; None for a new embedding. `auto` is not decided here.

    Raises:
        InputError: the run has no such task, or the paper names none.
    """
    if init_from == RANDOM:
        return None
    if init_from not in (PAPER, *trained):
        raise InputError(f"--init-from: the run has no task '{init_from}'; {did_you_mean(init_from, trained)}")
    if init_from != PAPER:
        return init_from
    other = f"give --init-from one of {', '.join(trained)}, {AUTO} or {RANDOM}"
    if task.similar_to is None:
        raise InputError(f"no task is known to be most similar to '{task.name}'; {other}")
    if task.similar_to not in trained:
        raise InputError(f"'{task.name}' starts from '{task.similar_to}', which the run was not trained on; {other}")
    return task.similar_to


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """What the outcome of a trial depends on besides the run, the task, the shots and the seed."""
    fewshot, training, evaluation = fewshot_section(recipe), recipe.training, recipe.evaluation
    changed = {key: getattr(training, key) for key in ("head_learning_rate_scale", "beta2")}
    usual = {key: TrainingSection.model_fields[key].default for key in changed}
    return {
        "start": fewshot.init_from,
        **fewshot.model_dump(include={"train", "max_steps", "batch_size", "learning_rate", "schedule", "warmup_steps"}),
        **training.model_dump(include={"label_smoothing", "loss_reduction", "max_grad_norm", "precision"}),
        **evaluation.model_dump(include={"max_examples", "num_beams"}),
        "method": None if evaluation.method == "generate" else evaluation.method,  # trials of earlier releases generate
        # Trials of earlier releases have the usual values, and say nothing of them.
        **{key: None if value == usual[key] else value for key, value in changed.items()},
        **recipe.data.model_dump(include={"protocol", "max_source_length", "max_target_length"}),
    }
