"""Evaluation of all tasks on a split: answers, metrics, figures per label, both averages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.layouts import Ids
from hyperformer_cli.config.sections import EvaluationSection
from hyperformer_cli.data.tokenization import Tokenization, TokenizedSplit
from hyperformer_cli.engine.answering import Answering, Question
from hyperformer_cli.engine.answers import Answer
from hyperformer_cli.engine.averages import mean_of_metrics_and_tasks
from hyperformer_cli.engine.details import task_details
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.tasks.task import Task

_FEW = 3  # names that fit into a line


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
        examples = {task.name: limited(data[task.name], self.settings.max_examples) for task in tasks}
        was_training = self.model.training
        self.model.eval()
        with self.model.frozen_adapters():
            answers = self._answer(tasks, split, examples)
        self.model.train(was_training)
        found: list[TaskEvaluation] = []
        for task in tasks:
            found.append(_scored(task, split, examples[task.name], answers[task.name]))
            self.observer.task_evaluated(task.name, split)
        return found

    def _answer(self, tasks: Sequence[Task], split: str, data: Mapping[str, TokenizedSplit]) -> dict[str, list[Answer]]:
        """Each task's answers to its examples, in their order, on every process.

        Examples are dealt over the processes by length, so that none is duplicated or dropped.
        """
        by_name = {task.name: task for task in tasks}
        answering = Answering(
            self.model, by_name, self.tokenization, self.accelerator, self.settings, self.with_likelihoods
        )
        places = [(name, row) for name in by_name for row in range(len(data[name]))]
        lengths = [length for name in by_name for length in data[name].input_lengths().tolist()]
        questions = [Question(name, length) for (name, _), length in zip(places, lengths, strict=True)]

        def input_ids(number: int) -> Ids:
            name, row = places[number]
            return data[name].input_ids(row)

        found: list[tuple[int, Answer]] = []
        for numbers, answers in answering.answer(questions, input_ids):
            found += zip(numbers, answers, strict=True)
            self.observer.evaluating(_names([places[number][0] for number in numbers]), split, len(numbers))
        if self.accelerator.num_processes > 1:
            found = gather_object(found)
        by_task: dict[str, list[Answer]] = {name: [] for name in by_name}
        for number, answer in sorted(found, key=lambda pair: pair[0]):
            by_task[places[number][0]].append(answer)
        return by_task


def _scored(task: Task, split: str, examples: TokenizedSplit, answers: list[Answer]) -> TaskEvaluation:
    from hyperformer_cli.data import metrics  # imports `evaluate`, which takes seconds

    references, texts = examples.targets(), [answer.text for answer in answers]
    majority = metrics.majority_score(task, references)
    scores = [
        Score(task.name, split, metric, value, majority[metric], len(examples))
        for metric, value in metrics.score(task, texts, references).items()
    ]
    details = None if task.is_free_text else task_details(task, split, texts, references)
    return TaskEvaluation(task, split, answers, references, scores, details)


def _names(tasks: Sequence[str]) -> str:
    """Tasks of a batch, for people."""
    distinct = list(dict.fromkeys(tasks))
    return ", ".join(distinct) if len(distinct) <= _FEW else f"{len(distinct)} tasks"


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
