"""One trained run, adapted to a new task again and again: between trials its weights are restored, in memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.data.micro_batches import cut_as_drawn
from hyperformer_cli.data.sampling import TemperatureSampler
from hyperformer_cli.data.tokenization import Tokenization, TokenizedSplit
from hyperformer_cli.engine.optimizer import make_optimizer
from hyperformer_cli.engine.scoring import Evaluator, limited
from hyperformer_cli.engine.step import LossFunction, OptimizerStep
from hyperformer_cli.errors import HyperformerError
from hyperformer_cli.fewshot.protocol import fewshot_section
from hyperformer_cli.runs.fewshot_files import FewShotTrial
from hyperformer_cli.tasks.task import Task

_EMBEDDING = "bank.task_embedding"


@dataclass(frozen=True)
class Target:
    """A task to transfer to, with what is loaded once for all its trials.

    Attributes:
        trials: row numbers, in the data set's training split, of every trial's examples.
        examples: these examples.
        test: the test examples.
        fingerprint: changes whenever the data or the task's declaration change.
    """

    task: Task
    trials: dict[FewShotTrial, list[int]]
    examples: dict[FewShotTrial, TokenizedSplit]
    test: TokenizedSplit
    fingerprint: str


class Transfer:
    """A run's model, its initial weights, and the training of trials from them, as a recipe says."""

    def __init__(self, model: AdaptedModel, tokenization: Tokenization, recipe: Recipe, accelerator: Accelerator):
        self.model, self.recipe, self.settings = model, recipe, fewshot_section(recipe)
        self._loss_function = LossFunction(model, model, tokenization.encoding.pad_id, accelerator)
        self._evaluator = Evaluator(model, tokenization, accelerator, recipe.evaluation)
        self._initial = {name: p.detach().clone() for name, p in model.trained_parameters().items()}

    def run(self, target: Target, trial: FewShotTrial, init_from: str | None) -> dict[str, Any]:
        """Trains and tests one of the target's trials, and puts the run's weights back.

        Args:
            target: the task and its data.
            trial: one of the target's.
            init_from: the trained task it starts from; None for a new embedding (or adapter) drawn by the seed.

        Returns:
            The entries of the trial's file: row numbers, scores, the task's trained embedding if it has one, seconds.

        Raises:
            HyperformerError: the loss is not finite.
        """
        with self._new_task(trial, init_from):
            start = time.perf_counter()
            self._train(target.examples[trial], trial)
            trained = time.perf_counter()
            [found] = self._evaluator.evaluate([target.task], "test", {target.task.name: target.test})
            evaluated = time.perf_counter()
            embedding = self.model.trained_parameters().get(_EMBEDDING)
            return {
                "indices": target.trials[trial],
                "results": [score.as_dict() for score in found.scores],
                "task_embedding": None if embedding is None else embedding[-1].tolist(),
                "seconds": {"training": round(trained - start, 3), "evaluation": round(evaluated - trained, 3)},
            }

    @torch.no_grad()
    def losses_of_trained_tasks(self, split: TokenizedSplit) -> dict[str, float]:
        """Cross-entropy per token of a new task's examples with each trained task's adapters, without smoothing."""
        split, found = limited(split, self.recipe.evaluation.max_examples), {}
        for task_id, name in enumerate(self.model.tasks):
            parts = cut_as_drawn(len(split), self.recipe.evaluation.batch_size)
            batches = (
                self._loss_function.collate([(task_id, row) for row in part], {task_id: split}) for part in parts
            )
            losses = [self._loss_function(batch, smoothing=0.0) for batch in batches]
            total = sum(float(rows.losses.sum()) for rows in losses)
            found[name] = total / sum(int(rows.tokens.sum()) for rows in losses)
        return found

    @contextmanager
    def _new_task(self, trial: FewShotTrial, init_from: str | None) -> Iterator[None]:
        torch.manual_seed(trial.seed)  # a new embedding, then dropout
        self.model.add_task(trial.task, init_from)
        try:
            yield
        finally:
            self.model.remove_task(trial.task)
            self.model.zero_grad()  # gradients of a trial that failed within a step
            with torch.no_grad():
                for parameter_name, parameter in self.model.trained_parameters().items():
                    parameter.copy_(self._initial[parameter_name])

    def _train(self, examples: TokenizedSplit, trial: FewShotTrial) -> None:
        task_id = len(self.model.tasks) - 1
        # A batch of all examples where they are fewer than a batch: repeating them would change nothing but the time.
        size = min(self.settings.batch_size, len(examples))
        sampler = TemperatureSampler([len(examples)], size, seed=trial.seed)
        self.model.train()
        with self._trained_parts() as parameters:
            optimizer, schedule = make_optimizer(
                parameters, self.settings, self.recipe.training, self.model.head_weights()
            )
            splits = {task_id: examples}
            make_step = OptimizerStep(self._loss_function, splits, optimizer, schedule, self.recipe)
            for step in range(self.settings.max_steps):
                last = make_step(make_step.prepare([(task_id, row) for _, row in sampler.batch(step)]))
            finite = all(tensor.isfinite().all() for tensor in (last.rows.losses, *parameters))
        self.model.eval()
        if not finite:
            raise HyperformerError(f"{trial}: the loss is not finite; lower fewshot.learning_rate")

    @contextmanager
    def _trained_parts(self) -> Iterator[list[torch.nn.Parameter]]:
        """What the transfer trains: the run's trained parameters, or the task embeddings alone.

        Of the embeddings only the new task's has a gradient.
        """
        trained = self.model.trained_parameters()
        chosen = trained if self.settings.train == "all" else {_EMBEDDING: trained[_EMBEDDING]}
        for name, parameter in trained.items():
            parameter.requires_grad_(name in chosen)
        try:
            yield list(chosen.values())
        finally:
            for parameter in trained.values():
                parameter.requires_grad_(True)
