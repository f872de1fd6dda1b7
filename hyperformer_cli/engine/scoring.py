"""Evaluation of all tasks on a split: answers, metrics, figures per label, both averages."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.recipe import EvaluationSection
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.data.tokenization import Tokenization, TokenizedSplit
from hyperformer_cli.engine.answers import Answer, likeliest
from hyperformer_cli.engine.averages import mean_of_metrics_and_tasks
from hyperformer_cli.engine.details import task_details
from hyperformer_cli.engine.likelihood import label_log_likelihoods
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.tasks.task import Task


@dataclass(frozen=True)
class Score:
    """One metric of one task on one split, in per cent or as the metric says (see `tasks.metrics.Metric`).

    `majority` is what the most frequent answer alone scores.
    """

    task: str
    split: str
    metric: str
    value: float
    majority: float
    examples: int

    def as_dict(self) -> dict[str, str | float | int]:
        rounded = {"value": round(self.value, 4), "majority": round(self.majority, 4)}
        return {**asdict(self), **rounded}


@dataclass(frozen=True)
class TaskEvaluation:
    """One task on one split.

    Attributes:
        answers, references: one per example, in their order; references are target texts.
        scores: one per metric.
        details: an entry of `details` in results.json; None where free text is predicted.
    """

    task: Task
    split: str
    answers: list[Answer]
    references: list[str]
    scores: list[Score]
    details: dict[str, Any] | None


@dataclass(frozen=True)
class Evaluator:
    """Predicts and scores with one model, which is not wrapped and on the accelerator's device.

    The observer is told of every batch, and of every task when all processes have scored it. `with_likelihoods` asks
    for the likelihoods of the label texts where the answers do not need them.
    """

    model: AdaptedModel
    tokenization: Tokenization
    accelerator: Accelerator
    settings: EvaluationSection
    observer: Observer = SILENT
    with_likelihoods: bool = False

    def evaluate(self, tasks: Sequence[Task], split: str, data: Mapping[str, TokenizedSplit]) -> list[TaskEvaluation]:
        """Every task's answers and scores, on every process; `data` holds each task's examples by its name.

        The adapters of all tasks are generated once; the model is left in the mode it came in.
        """
        lengths = longest_target(tasks, self.tokenization.encoding)
        was_training = self.model.training
        self.model.eval()
        found: list[TaskEvaluation] = []
        with self.model.frozen_adapters():
            for task in tasks:
                found.append(self._evaluate(task, split, data[task.name], lengths[task.name]))
                self.observer.task_evaluated(task.name, split)
        self.model.train(was_training)
        return found

    def _evaluate(self, task: Task, split: str, data: TokenizedSplit, max_new_tokens: int) -> TaskEvaluation:
        from hyperformer_cli.data import metrics  # imports `evaluate`, which takes seconds

        examples = limited(data, self.settings.max_examples)
        answers, references = self._answer(task, split, examples, max_new_tokens), examples.targets()
        texts = [answer.text for answer in answers]
        majority = metrics.majority_score(task, references)
        scores = [
            Score(task.name, split, metric, value, majority[metric], len(examples))
            for metric, value in metrics.score(task, texts, references).items()
        ]
        details = None if task.is_free_text else task_details(task, split, texts, references)
        return TaskEvaluation(task, split, answers, references, scores, details)

    def _answer(self, task: Task, split: str, data: TokenizedSplit, max_new_tokens: int) -> list[Answer]:
        """An answer to every example, in their order, on every process.

        Examples are sharded over the processes by number, so none is duplicated or dropped, and batched by length.
        """
        accelerator, layout, encoding = self.accelerator, self.model.family.layout, self.tokenization.encoding
        mine = np.arange(accelerator.process_index, len(data), accelerator.num_processes)
        mine = mine[np.argsort(-data.input_lengths()[mine], kind="stable")]
        found: list[tuple[int, Answer]] = []
        for numbers in self._batches(mine, len(data)):
            inputs = [data.input_ids(number) for number in numbers or [0]]
            batch = layout.generation_batch(inputs, encoding.pad_id)
            batch = {name: tensor.to(accelerator.device) for name, tensor in batch.items()}
            with torch.inference_mode(), accelerator.autocast():
                answers = self._answer_batch(task, batch, len(inputs), max_new_tokens)
            found += zip(numbers, answers, strict=False)  # one answer more than numbers where there were none
            self.observer.evaluating(task.name, split, len(numbers))
        if accelerator.num_processes > 1:
            found = gather_object(found)
        return [answer for _, answer in sorted(found, key=lambda pair: pair[0])]

    def _answer_batch(self, task: Task, batch: dict[str, Tensor], rows: int, max_new_tokens: int) -> list[Answer]:
        layout, ranks = self.model.family.layout, self.settings.ranks(task)
        likelihoods: list[list[float]] = [[]] * rows
        if ranks or (self.with_likelihoods and task.labels):
            task_ids, labels = (
                [self.model.task_id(task.name)] * rows,
                [self.tokenization.target_ids(task, task.label_texts)] * rows,
            )
            read = layout.read(self.model, batch, task_ids)
            likelihoods = label_log_likelihoods(self.model, read, task_ids, labels, self.settings.batch_size)
        if ranks:
            return [Answer(likeliest(task, own), own) for own in likelihoods]
        beams = self.settings.num_beams or task.num_beams
        options = self.tokenization.encoding.decoding(self.model.backbone.generation_config)
        ids = self.model.generate(
            **batch, task=task.name, num_beams=beams, max_new_tokens=max_new_tokens, do_sample=False, **options
        )
        new = layout.generated(ids, batch)
        texts = self.tokenization.tokenizer.batch_decode(new, skip_special_tokens=True)
        return [Answer(text, own) for text, own in zip(texts, likelihoods, strict=True)]

    def _batches(self, mine: np.ndarray, total: int) -> list[list[int]]:
        """This process's batches. With a sharded backbone, all have as many: the last may be empty for some."""
        size, world = self.settings.batch_size, self.accelerator.num_processes
        most = math.ceil(math.ceil(total / world) / size) if self.model.is_sharded else math.ceil(len(mine) / size)
        return [mine[size * number : size * (number + 1)].tolist() for number in range(most)]


def limited(split: TokenizedSplit, max_examples: int | None) -> TokenizedSplit:
    """The first `max_examples` of a split; all of them for None."""
    return split if max_examples is None else split.select(range(min(max_examples, len(split))))


def all_scores(evaluations: Iterable[TaskEvaluation]) -> list[Score]:
    """The scores of every task, in their order."""
    return [score for evaluation in evaluations for score in evaluation.scores]


def all_details(evaluations: Iterable[TaskEvaluation]) -> list[dict[str, Any]]:
    """The `details` of results.json."""
    return [evaluation.details for evaluation in evaluations if evaluation.details is not None]


def averages(scores: Sequence[Score]) -> dict[str, float]:
    """Both averages of a split's scores; see `mean_of_metrics_and_tasks`."""
    return mean_of_metrics_and_tasks([(score.task, score.metric, score.value) for score in scores])
