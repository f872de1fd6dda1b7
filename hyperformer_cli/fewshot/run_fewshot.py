"""Few-shot transfer of a run to new tasks (paper, Section 4.2, Table 2): every target, number of shots and seed."""

import hashlib
import json
import traceback
from pathlib import Path
from typing import Any

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.fewshot import AUTO, PAPER
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import target_tasks
from hyperformer_cli.data.loading import check_texts, load_split
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.fewshot import protocol
from hyperformer_cli.fewshot.transfer import Target, Transfer
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.runs import fewshot_files
from hyperformer_cli.runs.fewshot_files import FewShotTrial
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.storage.trained import detached
from hyperformer_cli.tasks.task import Task


def run_fewshot(
    run: OpenedRun, recipe: Recipe, output: Path, strict_shots: bool = False, observer: Observer = SILENT
) -> dict[str, Any]:
    """Transfers a run to the targets of a recipe. Trials that are done already are skipped.

    Args:
        run: the trained run, with one model.
        recipe: its `fewshot` section is the protocol; it also gives data, loss, precision and evaluation.
        output: the folder for `fewshot/` and `fewshot.json`, usually the run's.
        strict_shots: refuse more shots than a target has training examples.
        observer: is told of each trial.

    Returns:
        The content of `fewshot.json`.

    Raises:
        InputError: the run or a target does not allow the transfer; nothing has been trained.
        HyperformerError: at least one trial failed; the others are done.
    """
    tasks = _target_tasks(run, recipe)
    model = run.model
    starts = {task.name: _start(task, recipe, model) for task in tasks}
    accelerator = make_accelerator(recipe.training.precision)
    if accelerator.num_processes > 1:
        raise InputError("fewshot runs in one process; give several their own --target-tasks and --output-dir")
    data = recipe.data
    tokenization = Tokenization(
        run.tokenization.encoding, data.max_source_length, data.max_target_length, model.config.needs_task_prefix
    )
    check_texts([*run.declared.values(), *tasks], tokenization)
    targets = [_load(task, recipe, tokenization, strict_shots) for task in tasks]
    transfer = Transfer(model.to(accelerator.device), tokenization, recipe, accelerator)
    for task in tasks:
        if starts[task.name] == AUTO:
            validation = load_split(task, "validation", data, tokenization, recipe.seed)
            losses = transfer.losses_of_trained_tasks(validation)
            best, *_ = ranked = sorted(losses, key=losses.__getitem__)
            shown = ", ".join(f"{name} {losses[name]:.3f}" for name in ranked)
            observer.reported(f"{task.name} starts from {best}; validation loss per token by task: {shown}")
            starts[task.name] = best
    settings = protocol.settings_of(recipe)
    common = {"weights_sha256": _hash(model), **settings}
    by_task = {t.task.name: {"init_from": starts[t.task.name], "data_sha256": t.fingerprint} for t in targets}
    head = {"name": run.recipe.name, "method": model.config.method, "train": settings["train"]}
    head |= {"init_from": settings["start"], "settings": settings}
    folder = RunFolder(output)
    with folder.lock():
        folder.remove_leftovers()
        finished = fewshot_files.check_settings(output, common, by_task)
        trials = [(target, trial) for target in targets for trial in target.trials]
        to_do = [(target, trial) for target, trial in trials if trial not in finished]
        observer.reported(f"{len(to_do)} of {len(trials)} trials to do")
        failed = []
        for target, trial in to_do:
            try:
                found = transfer.run(target, trial, starts[trial.task])
            except Exception as error:  # whatever it was, the other trials must not be lost
                failed.append(str(trial))
                observer.reported(str(error) if isinstance(error, HyperformerError) else traceback.format_exc())
                continue
            fewshot_files.write_trial(output, trial, common | by_task[trial.task], found)
            fewshot_files.write_summary(output, head)
            observer.reported(_line(trial, starts[trial.task], found))
        if failed:
            raise HyperformerError(f"{len(failed)} of {len(to_do)} trials failed: {'; '.join(failed)}")
        return fewshot_files.write_summary(output, head)


def _target_tasks(run: OpenedRun, recipe: Recipe) -> list[Task]:
    """The recipe's targets, checked against the run before its model is loaded."""
    trained, tasks = run.with_one_model().recipe, target_tasks(recipe)
    if not tasks:
        raise InputError("no target tasks; give --target-tasks, such as --target-tasks paws,imdb")
    protocol.check_are_new(tasks, trained.task_names)
    if protocol.fewshot_section(recipe).train == "task-embedding" and not trained.adapter.has_hypernetwork:
        raise InputError(f"--train task-embedding: method '{trained.adapter.method}' has no task embeddings")
    if run.is_static:
        raise InputError(f"{run.path}: a static export, to which no tasks can be added; give the run it was made from")
    return tasks


def _start(task: Task, recipe: Recipe, model: AdaptedModel) -> str | None:
    """The trained task that a target starts from, `auto`, or None if the run has nothing to start from."""
    init_from = protocol.fewshot_section(recipe).init_from
    if model.bank is None or model.config.shared_by_tasks:
        if init_from != PAPER:
            raise InputError(f"--init-from {init_from}: the run has nothing by task that a new one could start from")
        return None
    return AUTO if init_from == AUTO else protocol.starting_task(task, init_from, model.tasks)


def _load(task: Task, recipe: Recipe, tokenization: Tokenization, strict_shots: bool) -> Target:
    """Draws the examples of every trial and tokenises these only: a training split may be large."""
    rows = load_rows(task, source_split_of(task, "train"), recipe.data.source)
    available = protocol.training_rows(task, recipe.data, rows.table.num_rows)
    trials = protocol.trials_of(task, protocol.fewshot_section(recipe), len(available), strict_shots)
    drawn = {trial: protocol.draw(available, trial) for trial in trials}
    numbers = sorted(set().union(*drawn.values()))
    train, places = tokenization.apply(task, rows.take(numbers)), {number: i for i, number in enumerate(numbers)}
    examples = {trial: train.select([places[number] for number in chosen]) for trial, chosen in drawn.items()}
    test_rows = load_rows(task, source_split_of(task, "test"), recipe.data.source)
    about = task.model_dump(mode="json", exclude={"files"})  # files may move
    fingerprint = hashlib.sha256(json.dumps([rows.fingerprint, test_rows.fingerprint, about]).encode()).hexdigest()
    test = load_split(task, "test", recipe.data, tokenization, recipe.seed)
    return Target(task, drawn, examples, test, fingerprint)


def _hash(model: AdaptedModel) -> str:
    """SHA-256 of the trained tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(detached(model.trained_parameters()).items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _line(trial: FewShotTrial, init_from: str | None, found: dict[str, Any]) -> str:
    scores = ", ".join(f"{score['metric']} {score['value']:.2f}" for score in found["results"])
    start = f", from {init_from}" if init_from else ""
    return f"{trial}{start}: {scores} ({sum(found['seconds'].values()):.1f} s)"
