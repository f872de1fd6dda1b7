"""One trained run, adapted to a new task again and again: between cells its weights are restored, in memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.fewshot import FewshotSection
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.data.sampling import TemperatureSampler
from hyperformer_cli.data.tokenization import TokenizedSplit
from hyperformer_cli.engine.optimizer import make_optimizer
from hyperformer_cli.engine.scoring import Evaluator, limited
from hyperformer_cli.engine.step import LossFunction, OptimizerStep, micro_batches
from hyperformer_cli.errors import HyperformerError
from hyperformer_cli.runs.fewshot_files import FewShotTrial
from hyperformer_cli.tasks.task import Task


@dataclass(frozen=True)
class Target:
    """A task to transfer to, with what is loaded once for all its cells.

    Attributes:
        task: the declaration.
        cells: row numbers, in the data set's training split, of every cell's examples.
        numbers: row numbers of `train`'s rows.
        train: the rows that any cell draws.
        fingerprint: changes whenever the data or the task's declaration change.
        test, validation: these roles' examples; validation is needed to choose a start by loss.
    """

    task: Task
    cells: dict[FewShotTrial, list[int]]
    numbers: list[int]
    train: TokenizedSplit
    fingerprint: str
    test: TokenizedSplit
    validation: TokenizedSplit | None = None

    def examples(self, cell: FewShotTrial) -> TokenizedSplit:
        return self.train.select(np.searchsorted(self.numbers, self.cells[cell]))


class Transfer:
    """A run's model, its initial weights, and how a cell is trained from them.

    Args:
        model: the run's, on the device.
        tokenizer: the run's.
        recipe: gives the transfer's protocol (`fewshot`), and loss, clipping, precision and evaluation.
        accelerator: of one process.
    """

    def __init__(
        self, model: AdaptedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, accelerator: Accelerator
    ):
        self.model, self.recipe = model, recipe
        self.settings: FewshotSection = recipe.fewshot
        self._loss_function = LossFunction(model, model, tokenizer, accelerator)
        self._evaluator = Evaluator(model, tokenizer, accelerator, recipe.evaluation)
        self._initial = {name: p.detach().clone() for name, p in model.trained_parameters().items()}

    def run(self, target: Target, cell: FewShotTrial, init_from: str | None) -> dict[str, Any]:
        """Trains and tests one cell, and puts the run's weights back.

        Args:
            target: the task and its data.
            cell: one of the target's.
            init_from: the trained task it starts from; None for a new embedding (or adapter) drawn by the seed.

        Returns:
            The examples' row numbers, `results` as in results.json, the task's trained embedding if it has one, and
            the seconds of training and evaluation.

        Raises:
            HyperformerError: the loss is not finite.
        """
        with self._new_task(target.task.name, init_from, cell.seed):
            start = time.perf_counter()
            self._train(target.examples(cell), cell)
            trained = time.perf_counter()
            scores = self._evaluator.evaluate([target.task], "test", {target.task.name: target.test})
            evaluated = time.perf_counter()
            embedding = getattr(self.model.bank, "task_embedding", None)
            return {
                "indices": target.cells[cell],
                "results": [score.as_dict() for score in scores],
                "task_embedding": None if embedding is None else embedding[-1].tolist(),
                "seconds": {"training": round(trained - start, 3), "evaluation": round(evaluated - trained, 3)},
            }

    def losses_of_trained_tasks(self, target: Target) -> dict[str, float]:
        """Mean loss per token on the target's validation examples with each trained task's adapters."""
        split = limited(target.validation, self.recipe.evaluation.max_examples)
        return {name: self._mean_loss(split, task_id) for task_id, name in enumerate(self.model.tasks)}

    @contextmanager
    def _new_task(self, name: str, init_from: str | None, seed: int) -> Iterator[None]:
        torch.manual_seed(seed)  # a new embedding, then dropout
        self.model.add_task(name, init_from)
        try:
            yield
        finally:
            self.model.remove_task(name)
            self.model.zero_grad()  # gradients of a cell that failed within a step
            with torch.no_grad():
                for parameter_name, parameter in self.model.trained_parameters().items():
                    parameter.copy_(self._initial[parameter_name])

    def _train(self, examples: TokenizedSplit, cell: FewShotTrial) -> None:
        task_id = len(self.model.tasks) - 1
        # A batch of all examples where they are fewer than a batch: repeating them would change nothing but the time.
        size = min(self.settings.batch_size, len(examples))
        sampler = TemperatureSampler([len(examples)], size, seed=cell.seed)
        self.model.train()
        with self._trained_parts() as parameters:
            optimizer, schedule = make_optimizer(parameters, self.settings)
            make_step = OptimizerStep(
                self._loss_function, {task_id: examples}, optimizer, schedule, self.recipe.training
            )
            for step in range(self.settings.max_steps):
                last = make_step([(task_id, row) for _, row in sampler.batch(step)])
            finite = all(tensor.isfinite().all() for tensor in (last.rows.losses, *parameters))
        self.model.eval()
        if not finite:
            at = f"{cell.task}, {cell.shots} examples, seed {cell.seed}"
            raise HyperformerError(f"{at}: the loss is not finite; lower fewshot.learning_rate")

    @contextmanager
    def _trained_parts(self) -> Iterator[list[torch.nn.Parameter]]:
        """What the transfer trains: the run's trained parameters, or the task embeddings alone.

        Of the embeddings only the new task's has a gradient.
        """
        trained = list(self.model.trained_parameters().values())
        if self.settings.train == "all":
            yield trained
            return
        embedding = self.model.bank.task_embedding
        for parameter in trained:
            parameter.requires_grad_(parameter is embedding)
        try:
            yield [embedding]
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)

    @torch.no_grad()
    def _mean_loss(self, split: TokenizedSplit, task_id: int) -> float:
        """Cross-entropy per token over a split, without smoothing."""
        examples = [(task_id, row) for row in range(len(split))]
        batches = [
            self._loss_function(batch, {task_id: split}, smoothing=0.0)
            for batch in micro_batches(examples, self.recipe.evaluation.batch_size)
        ]
        return sum(float(rows.losses.sum()) for rows in batches) / sum(int(rows.tokens.sum()) for rows in batches)
