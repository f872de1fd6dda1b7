"""Evaluation of all tasks on a split: predictions, metrics, both averages."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.recipe import EvaluationSection
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.data.tokenization import Tokenization, TokenizedSplit
from hyperformer_cli.engine.averages import mean_of_metrics_and_tasks
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.tasks.task import Task


@dataclass(frozen=True)
class Score:
    """One metric of one task on one split, in per cent; `majority` is what the most frequent answer alone scores."""

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
class Evaluator:
    """Predicts and scores with one model, which is not wrapped and on the accelerator's device.

    The observer is told of every batch, and of every task when all processes have scored it.
    """

    model: AdaptedModel
    tokenization: Tokenization
    accelerator: Accelerator
    settings: EvaluationSection
    observer: Observer = SILENT

    def evaluate(self, tasks: Sequence[Task], split: str, data: Mapping[str, TokenizedSplit]) -> list[Score]:
        """One score per task and metric, on every process; `data` holds each task's examples by its name.

        The adapters of all tasks are generated once; the model is left in the mode it came in.
        """
        lengths = longest_target(tasks, self.tokenization.encoding)
        was_training = self.model.training
        self.model.eval()
        scores: list[Score] = []
        with self.model.frozen_adapters():
            for task in tasks:
                scores += self._score(task, split, data[task.name], lengths[task.name])
                self.observer.task_evaluated(task.name, split)
        self.model.train(was_training)
        return scores

    def _score(self, task: Task, split: str, data: TokenizedSplit, max_new_tokens: int) -> list[Score]:
        from hyperformer_cli.data import metrics  # imports `evaluate`, which takes seconds

        examples = limited(data, self.settings.max_examples)
        predictions = self._generate(task, split, examples, max_new_tokens)
        references = examples.targets()
        majority = metrics.majority_score(task, references)
        return [
            Score(task.name, split, metric, value, majority[metric], len(examples))
            for metric, value in metrics.score(task, predictions, references).items()
        ]

    def _generate(self, task: Task, split: str, data: TokenizedSplit, max_new_tokens: int) -> list[str]:
        """A text for every example, in their order, on every process.

        Examples are sharded over the processes by number, so none is duplicated or dropped, and batched by length.
        """
        accelerator, layout, encoding = self.accelerator, self.model.family.layout, self.tokenization.encoding
        options = encoding.decoding(self.model.backbone.generation_config)
        mine = np.arange(accelerator.process_index, len(data), accelerator.num_processes)
        mine = mine[np.argsort(-data.input_lengths()[mine], kind="stable")]
        beams = self.settings.num_beams or task.num_beams
        texts: list[tuple[int, str]] = []
        for start in range(0, len(mine), self.settings.batch_size):
            numbers = mine[start : start + self.settings.batch_size].tolist()
            inputs = [data.input_ids(number) for number in numbers]
            batch = layout.generation_batch(inputs, encoding.pad_id)
            batch = {name: tensor.to(accelerator.device) for name, tensor in batch.items()}
            with torch.inference_mode(), accelerator.autocast():
                ids = self.model.generate(
                    **batch, task=task.name, num_beams=beams, max_new_tokens=max_new_tokens, do_sample=False, **options
                )
            new = layout.generated(ids, batch)
            answers = self.tokenization.tokenizer.batch_decode(new, skip_special_tokens=True)
            texts += zip(numbers, answers, strict=True)
            self.observer.evaluating(task.name, split, len(numbers))
        if accelerator.num_processes > 1:
            texts = gather_object(texts)
        return [text for _, text in sorted(texts)]


def limited(split: TokenizedSplit, max_examples: int | None) -> TokenizedSplit:
    """The first `max_examples` of a split; all of them for None."""
    return split if max_examples is None else split.select(range(min(max_examples, len(split))))


def averages(scores: Sequence[Score]) -> dict[str, float]:
    """Both averages of a split's scores; see `mean_of_metrics_and_tasks`."""
    return mean_of_metrics_and_tasks([(score.task, score.metric, score.value) for score in scores])
