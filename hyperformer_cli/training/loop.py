"""Training, from recipe to results: prepare, (resume,) step, log, evaluate, save, and score the best weights.

The loop is our own because one optimizer step holds one task (unless batches are mixed), its loss is summed over the
global batch, and a run that was killed must continue bit for bit.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from hyperformer_cli.adapters.counting import count_model
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.data.report import report_on_tokens, summary
from hyperformer_cli.engine.devices import describe_devices, device_warnings, make_accelerator
from hyperformer_cli.engine.processes import check_same, check_shared, code_version, first_does, launch
from hyperformer_cli.engine.scoring import Evaluator, TaskEvaluation, all_details, all_scores, averages
from hyperformer_cli.engine.step import LossFunction, OptimizerStep, PreparedStep, upcoming_steps
from hyperformer_cli.engine.together import ends_with_the_others
from hyperformer_cli.observer import SILENT, Observer, RunStart
from hyperformer_cli.runs import checkpoints
from hyperformer_cli.runs.checkpoints import Checkpoint
from hyperformer_cli.runs.environment import describe_environment
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.results import build_results
from hyperformer_cli.runs.weights import write_weights
from hyperformer_cli.schema.section import SplitName
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.storage.manifest import check_files, remove_manifest
from hyperformer_cli.storage.trained import WEIGHTS_FILE, copy_tensors
from hyperformer_cli.training.advice import answer_warnings, learned_tasks, loss_warnings, share_warnings
from hyperformer_cli.training.meter import LossMeter
from hyperformer_cli.training.selection import best_record, is_better
from hyperformer_cli.training.setup import Setup, prepare
from hyperformer_cli.training.state import RunState, restore_best, restore_checkpoint, save_checkpoint
from hyperformer_cli.training.stopping import EvaluationStopped, StoppableEvaluation, Stopped, StopRequest
from hyperformer_cli.training.trackers import Trackers


def train(recipe: Recipe, observer: Observer = SILENT) -> RunFolder:
    """Trains a recipe, or continues from a checkpoint in its folder, and evaluates the best weights.

    Args:
        recipe: resolved; its `output_dir` is the run folder.
        observer: is told of progress, on the first process only.

    Returns:
        The run folder, with `results.json`.

    Raises:
        InputError: the recipe or the data are wrong; nothing has been trained.
        HyperformerError: the loss is not finite, or another process uses the folder.
        Stopped: by a signal, after saving.
    """
    run = RunFolder(Path(recipe.output_dir))
    accelerator = make_accelerator(recipe.training, run.path, recipe.training.report_to)
    observer = observer if accelerator.is_main_process else SILENT
    check_same(accelerator, {"start": launch(), "recipe": recipe.as_dict(), **code_version()})
    check_shared(accelerator, run.path)
    if first_does(accelerator, run.is_complete):
        run.claim(recipe)
        observer.reported(f"{run.path} is complete; nothing to do")
        return run
    if run.results_file.is_file():
        observer.reported(f"{run.results_file} is damaged; the run is evaluated again")
    setup = prepare(recipe, accelerator)  # before the folder exists: a recipe that cannot run leaves nothing behind
    check_same(accelerator, {"content of the data": setup.fingerprints()})
    with contextlib.ExitStack() as stack:
        stack.enter_context(ends_with_the_others(accelerator))

        def take_folder() -> None:
            stack.enter_context(run.lock())
            run.claim(recipe)
            environment = describe_environment(accelerator.num_processes)
            write_json(run.environment_file, {**environment, "data_sets": setup.data_sets()})

        first_does(accelerator, take_folder)
        stop = stack.enter_context(StopRequest().listening())
        trackers = Trackers(recipe, accelerator)
        stack.callback(trackers.finish)
        Training(recipe, setup, run, observer, stop, trackers).run_to_the_end()
    return run


class Training:
    """One run in progress."""

    def __init__(
        self, recipe: Recipe, setup: Setup, run: RunFolder, observer: Observer, stop: StopRequest, trackers: Trackers
    ):
        self.recipe, self.setup, self.run, self.observer, self.stop = recipe, setup, run, observer, stop
        self.trackers = trackers
        self.accelerator = accelerator = setup.accelerator
        loss_function = LossFunction(setup.model, setup.wrapped_model, setup.tokenization.encoding.pad_id, accelerator)
        splits = {number: setup.data["train"][task.name] for number, task in enumerate(setup.tasks)}
        self.make_step = OptimizerStep(
            loss_function, splits, setup.optimizer, setup.schedule, recipe, recipe.training.replicas
        )
        stoppable = StoppableEvaluation(observer, stop, accelerator)
        self.evaluator = Evaluator(setup.model, setup.tokenization, accelerator, recipe.evaluation, stoppable)
        self.parameters = count_model(setup.model).as_dict()
        self.state = RunState()
        self.meter = LossMeter(setup.model.tasks, accelerator.device)
        self.saved = 0  # the step of the newest checkpoint
        self.warned: dict[tuple[str, str], str] = {}  # by task and kind of fault

    def run_to_the_end(self) -> None:
        """Continues from the newest checkpoint, or begins, and ends with results."""
        self._start_or_resume()
        every, last = self.recipe.evaluation.every, self.recipe.training.max_steps
        steps = upcoming_steps(self.setup.sampler, self.make_step, self.state.step, last)
        while True:
            step = self.state.step
            if step and self.state.evaluated < step and (step % every == 0 or step == last):
                self._evaluate_and_keep_best()
            ends = step == last or self._is_out_of_patience()
            if step and self.saved < step and (step % self.recipe.training.save_every == 0 or ends):
                self._save()
            if self.stop.is_agreed(self.accelerator):
                self._save_and_stop()
            if ends:
                break
            self._step(steps)
            if self.state.step % self.recipe.training.log_every == 0 or self.state.step == last:
                self._log()
        self._finish()

    def _is_out_of_patience(self) -> bool:
        patience = self.recipe.evaluation.patience
        return patience is not None and self.state.evaluations_since_best >= patience

    def _step(self, steps: Iterator[PreparedStep]) -> None:
        start = time.perf_counter()
        step = next(steps)
        self.meter.add(step, self.make_step(step))
        self.state.step += 1
        self._count_time(start)
        self.observer.stepped(self.state.step)

    def _count_time(self, start: float) -> None:
        elapsed = time.perf_counter() - start
        self.meter.seconds += elapsed
        self.state.seconds["training"] += elapsed

    def _start_or_resume(self) -> None:
        recipe, data = self.recipe, self.setup.data
        examples: dict[str, dict[str, int]] = {
            task.name: {split: len(data[split][task.name]) for split in data} for task in self.setup.tasks
        }
        self.observer.started(
            RunStart(
                recipe.name,
                recipe.adapter.method,
                recipe.training.max_steps,
                self.parameters,
                examples,
                describe_devices(self.accelerator, recipe.training),
            )
        )
        self._warn_of_small_shares()
        for warning in device_warnings(self.accelerator, recipe.training, int(self.parameters["backbone"])):
            self.observer.warned(warning)
        checkpoint, faults = first_does(self.accelerator, lambda: checkpoints.newest(self.run.path))
        if checkpoint is None and self.accelerator.is_main_process:
            self._report_data()
        if checkpoint is not None:
            self.state = restore_checkpoint(checkpoint, self.setup)
            for fault in faults:
                self.observer.reported(f"skipped {fault}")
            self.observer.resumed(self.state.step)
        first_does(self.accelerator, lambda: self._tidy_folder(checkpoint))
        if self.accelerator.is_main_process:
            self.meter.restore(self.state.meter)  # the others start from zero: these are the sums of all
        self.saved = self.state.step
        self.trackers.start(self.state.step)

    def _tidy_folder(self, checkpoint: Checkpoint | None) -> None:
        """Makes the folder what it was when the checkpoint was written."""
        remove_manifest(self.run.path)
        self.run.remove_leftovers()
        checkpoints.remove_after(self.run.path, self.state.step)
        if checkpoint is not None and restore_best(checkpoint, self.run, self.state, self.setup):
            self.observer.reported(f"restored {self.run.best} from {checkpoint.path.name}")
        if damaged := self.run.forget_metrics_after(self.state.step):
            self.observer.reported(f"removed {damaged} damaged lines from {self.run.metrics_file}")

    def _report_data(self) -> None:
        """One line per task about its data, and one for everything that will hurt."""
        for task in self.setup.tasks:
            splits = {split: by_task[task.name] for split, by_task in self.setup.data.items()}
            report = report_on_tokens(task, splits, self.setup.tokenization)
            self.observer.reported(summary(report))
            for warning in report.warnings:
                self.observer.warned(warning)

    def _log(self) -> None:
        start = time.perf_counter()
        self.meter.check_finite(self.state.step)  # waits for the device: training time
        self._count_time(start)
        record = {
            "kind": "training",
            "step": self.state.step,
            **self.meter.read(self.accelerator),
            "learning_rate": self.setup.schedule.get_last_lr()[0],
            "gradient_norm": round(float(self.meter.gradient_norm), 4),
            "seconds": round(self.state.seconds["training"], 3),
        }
        self._record(record)
        self.observer.logged(record)

    def _record(self, record: dict) -> None:
        if self.accelerator.is_main_process:
            self.run.append_metrics(record)
        self.trackers.log(record)

    def _evaluate_and_keep_best(self) -> None:
        self.meter.check_finite(self.state.step)
        found = self._evaluate("validation")
        scores = all_scores(found)
        self.state.evaluated, average = self.state.step, averages(scores)["metrics"]
        evaluated = best_record(self.recipe.evaluation, self.state.step, scores, average)
        is_best = is_better(evaluated, self.state.best)
        record = {
            "kind": "evaluation", "step": self.state.step, "average": average,
            "results": [score.as_dict() for score in scores], "best": is_best,
        }  # fmt: skip
        self.state.evaluations_since_best += 1
        if is_best:
            self.state.best, self.state.evaluations_since_best = evaluated, 0
            if self.accelerator.is_main_process:
                self._save_weights(self.run.best)
        self._record(record)
        self.observer.evaluated(record)
        if self.recipe.training.max_steps / 2 <= self.state.step < self.recipe.training.max_steps:
            self._warn(answer_warnings(found))

    def _evaluate(self, split: SplitName) -> list[TaskEvaluation]:
        start = time.perf_counter()
        # Layers are compiled for training steps; the shapes of generated answers would need graphs of their own.
        stance = torch.compiler.set_stance("force_eager") if self.recipe.training.compile else contextlib.nullcontext()
        try:
            with stance:
                found = self.evaluator.evaluate(self.setup.tasks, split, self.setup.data[split])
        except EvaluationStopped:  # here, where the model has its own bank again
            self._save_and_stop()
        self.state.seconds["evaluation"] += time.perf_counter() - start
        return found

    def _warn_of_small_shares(self) -> None:
        sizes = [len(self.setup.data["train"][task.name]) for task in self.setup.tasks]
        examples = self.recipe.training.max_steps * self.recipe.training.batch_size
        shares = self.setup.sampler.distribution.tolist()
        found = share_warnings(self.recipe.task_names, sizes, shares, examples)
        self._warn({(warning, "share"): warning for warning in found})

    def _warn(self, warnings: Mapping[tuple[str, str], str]) -> None:
        """Tells of faults that have not been told of."""
        for key, warning in warnings.items():
            if key not in self.warned:
                self.observer.warned(warning)
        self.warned |= warnings

    def _save_weights(self, folder: Path) -> None:
        tensors = self.setup.model.trained_parameters()
        write_weights(folder, self.setup.description, tensors, self.setup.tokenization.tokenizer)

    def _save(self) -> None:
        self.meter.check_finite(self.state.step)
        self.state.meter = self.meter.as_dict(self.accelerator)
        save_checkpoint(self.run.path, self.state, self.setup, self.recipe.training.keep_checkpoints)
        self.saved = self.state.step

    def _save_and_stop(self) -> None:
        if self.saved < self.state.step:
            self._save()
        raise Stopped(self.stop.signal_number, self.state.step)

    def _finish(self) -> None:
        best = self.state.best
        assert best is not None  # the last step has been evaluated
        if self.accelerator.is_main_process:
            self._save_weights(self.run.last)
        self.accelerator.wait_for_everyone()
        check_files(self.run.best)
        copy_tensors(self.run.best / WEIGHTS_FILE, self.setup.model.trained_parameters())
        scores: list[dict[str, Any]] = []
        details: list[dict[str, Any]] = []
        average: dict[str, dict[str, float]] = {}
        found: list[TaskEvaluation] = []
        for split in self.recipe.evaluation.splits:
            found = self._evaluate(split)
            own, average[split] = [score.as_dict() for score in all_scores(found)], averages(all_scores(found))
            scores, details = scores + own, details + all_details(found)
            record = {"kind": "final", "step": best["step"], "split": split, "average": average[split]["metrics"]}
            self.observer.evaluated({**record, "results": own})
        if self.accelerator.is_main_process:
            shares = {key: warning for key, warning in self.warned.items() if key[1] == "share"}
            final = answer_warnings(found) | loss_warnings(self.run.logged(), learned_tasks(found))
            self.warned = {}  # of other weights than the best
            self._warn(final)
            results = build_results(
                self.recipe, self.parameters, self.state.seconds, scores, average, best,
                steps=self.state.step, details=details, warnings=[*shares.values(), *final.values()],
            )  # fmt: skip
            self.run.finish(self.recipe, results)
        self.trackers.log_final(self.state.step, scores, average)
        self.accelerator.wait_for_everyone()
