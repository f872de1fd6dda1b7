"""Few-shot transfer of a run to new tasks (paper, Section 4.2, Table 2): every target, size and seed."""

import hashlib
import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.fewshot import AUTO, PAPER
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks, target_tasks
from hyperformer_cli.data.loading import check_targets, load_split
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.fewshot.protocol import Cell, cells_of, draw, settings_of, starting_task, training_rows
from hyperformer_cli.fewshot.results import check_settings, read_cells, remove_leftovers, write_cell, write_summary
from hyperformer_cli.fewshot.transfer import Target, Transfer
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.trained import load_trained_run
from hyperformer_cli.storage.trained import detached, read_description
from hyperformer_cli.tasks.task import Task


def run_fewshot(
    run: RunFolder,
    recipe: Recipe,
    output: Path,
    strict_sizes: bool = False,
    backbone: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Transfers a run to the recipe's targets; cells that are done already are skipped.

    Args:
        run: the trained run.
        recipe: its `fewshot` section is the protocol; data, loss, precision and evaluation are the recipe's too.
        output: where `fewshot/` and `fewshot.json` go; the run's folder as a rule.
        strict_sizes: refuse sizes above a target's training set.
        backbone: a folder with the model the run was trained on, where that is no longer where it was.
        report: called with a line about each step.

    Returns:
        The content of `fewshot.json`.

    Raises:
        InputError: the run or a target is not as it must be; nothing has been trained.
        HyperformerError: at least one cell failed; the others are done.
    """
    tasks = _targets(run, recipe)
    if read_description(run.weights()).weights == "static":
        raise InputError(f"{run.path}: a static export, to which no tasks can be added; give the run it was made from")
    model, tokenizer = load_trained_run(run, backbone=backbone)
    starts = {task.name: _start(task, recipe, model) for task in tasks}
    accelerator = make_accelerator(recipe.training.precision)
    if accelerator.num_processes > 1:
        raise InputError("fewshot runs in one process; give several their own --target-tasks and --output-dir")
    check_targets([*recipe_tasks(run.recipe()), *tasks], model.config.needs_task_prefix, tokenizer, recipe.data)
    lengths = recipe.data.max_source_length, recipe.data.max_target_length
    how = Tokenization(tokenizer, *lengths, task_prefix=model.config.needs_task_prefix)
    targets = [_load(task, recipe, how, strict_sizes) for task in tasks]
    transfer = Transfer(model.to(accelerator.device), tokenizer, recipe, accelerator)
    for target in targets:
        if starts[target.task.name] == AUTO:
            starts[target.task.name] = _most_similar(transfer, target, report)
    common = {"weights_sha256": _hash(model), **settings_of(recipe)}
    by_task = {t.task.name: {"init_from": starts[t.task.name], "data_sha256": t.fingerprint} for t in targets}
    head = {"name": run.recipe().name, "method": model.config.method}
    head |= {"train": recipe.fewshot.train, "init_from": recipe.fewshot.init_from, "settings": settings_of(recipe)}
    with RunFolder(output).lock():
        remove_leftovers(output)
        finished = read_cells(output)
        check_settings(output, finished, common, by_task)
        cells = [(target, cell) for target in targets for cell in target.cells]
        todo = [(target, cell) for target, cell in cells if cell not in finished]
        done = f", {len(cells) - len(todo)} are done already" if len(todo) < len(cells) else ""
        report(f"{len(todo)} cells to do{done}")
        failed = []
        for target, cell in todo:
            try:
                found = transfer.run(target, cell, starts[cell.task])
            except Exception as error:  # whatever it was, the other cells must not be lost
                failed.append(f"{cell.task}, {cell.shots} examples, seed {cell.seed}")
                report(str(error) if isinstance(error, HyperformerError) else traceback.format_exc())
                continue
            write_cell(output, cell, common | by_task[cell.task], found)
            write_summary(output, head)
            report(_line(cell, starts[cell.task], found))
        if failed:
            raise HyperformerError(f"{len(failed)} of {len(todo)} cells failed: {'; '.join(failed)}")
        return write_summary(output, head)


def _targets(run: RunFolder, recipe: Recipe) -> list[Task]:
    """The recipe's targets, checked against the run's recipe before its model is loaded."""
    trained = run.recipe()
    if not trained.joint:
        raise InputError(
            f"{run.path} has a model a task; give the run of one of them, such as {run.path}/cells/task=..."
        )
    tasks = target_tasks(recipe)
    if not tasks:
        raise InputError("no target tasks; give --target-tasks, such as --target-tasks paws,imdb")
    for number, task in enumerate(tasks):
        if task.name in trained.task_names:
            raise InputError(f"'{task.name}' is a task the run was trained on, not a new one")
        if task in tasks[:number]:
            raise InputError(f"target '{task.name}' stands twice")
    if recipe.fewshot.train == "task-embedding" and not trained.adapter.has_hypernetwork:
        raise InputError(f"--train task-embedding: method '{trained.adapter.method}' has no task embeddings")
    return tasks


def _start(task: Task, recipe: Recipe, model: AdaptedModel) -> str | None:
    """The trained task a target starts from, `auto`, or None where there is nothing to start from."""
    init_from = recipe.fewshot.init_from
    if model.bank is None or model.config.shared_by_tasks:
        if init_from != PAPER:
            raise InputError(f"--init-from {init_from}: the run has nothing by task that a new one could start from")
        return None
    return AUTO if init_from == AUTO else starting_task(task, init_from, model.tasks)


def _load(task: Task, recipe: Recipe, how: Tokenization, strict_sizes: bool) -> Target:
    """Draws every cell's examples and tokenises them, not the rest of a training split that may be large."""
    rows = load_rows(task, source_split_of(task, "train"), recipe.data.source)
    available = training_rows(task, recipe.data, rows.table.num_rows)
    cells = cells_of(task, recipe.fewshot, len(available), strict_sizes)
    drawn = {cell: draw(available, cell) for cell in cells}
    numbers = sorted({number for chosen in drawn.values() for number in chosen})
    splits = {
        split: load_split(task, split, recipe.data, how, recipe.seed)
        for split in (["validation", "test"] if recipe.fewshot.init_from == AUTO else ["test"])
    }
    test = load_rows(task, source_split_of(task, "test"), recipe.data.source)
    about = task.model_dump(mode="json", exclude={"files"})  # files may move
    fingerprint = hashlib.sha256(json.dumps([rows.fingerprint, test.fingerprint, about]).encode()).hexdigest()
    return Target(task, drawn, numbers, how.apply(task, rows.take(numbers)), fingerprint, **splits)


def _most_similar(transfer: Transfer, target: Target, report: Callable[[str], None]) -> str:
    losses = transfer.losses_of_trained_tasks(target)
    ranked = sorted(losses, key=losses.__getitem__)
    shown = ", ".join(f"{name} {losses[name]:.3f}" for name in ranked)
    report(f"{target.task.name} starts from {ranked[0]}; validation loss a token by task: {shown}")
    return ranked[0]


def _hash(model: AdaptedModel) -> str:
    """SHA-256 of the run's trained tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(detached(model.trained_parameters()).items()):
        digest.update(name.encode())
        digest.update(tensor.numpy())
    return digest.hexdigest()


def _line(cell: Cell, init_from: str | None, found: dict[str, Any]) -> str:
    scores = ", ".join(f"{score['metric']} {score['value']:.2f}" for score in found["results"])
    start = f" from {init_from}" if init_from else ""
    seconds = sum(found["seconds"].values())
    return f"{cell.task}{start}, {cell.shots} examples, seed {cell.seed}: {scores} ({seconds:.1f} s)"
