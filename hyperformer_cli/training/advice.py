"""Warnings of a run that may not have learned what it was meant to, each with what to try."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from hyperformer_cli.engine.scoring import TaskEvaluation
from hyperformer_cli.tasks.metrics import oriented

_FEW_EXAMPLES = 500  # with less than one pass over a task's data
_FEW_ROWS = 10  # on which one label for all of them may be right
_FEW_LINES = 4  # of a task in the log, in which no trend can be seen
_FALLEN = 0.97  # a loss that has not fallen to this share of what it was has not fallen
_SHARE_OUTSIDE = 0.01  # of the answers, of which nothing need be said

_TRY_LEARNING = (
    "try more training.max_steps, a learning rate three times higher or lower, or a larger share of the examples "
    "(data.sampling.probabilities)"
)


def share_warnings(
    tasks: Sequence[str], sizes: Sequence[int], probabilities: Sequence[float], examples: int
) -> list[str]:
    """Tasks that will hardly get examples.

    Args:
        tasks: names.
        sizes: training examples of each.
        probabilities: of each to be drawn.
        examples: that the whole run draws.
    """
    found = []
    for task, size, probability in zip(tasks, sizes, probabilities, strict=True):
        expected = examples * probability
        if expected < min(size, _FEW_EXAMPLES):
            found.append(
                f"{task}: will see about {expected:,.0f} examples, of {size:,}; try more training.max_steps, a higher "
                "data.sampling.temperature, or its share in data.sampling.probabilities"
            )
    return found


def answer_warnings(evaluations: Iterable[TaskEvaluation]) -> dict[tuple[str, str], str]:
    """What a split's answers say against a task, by task and kind of fault."""
    found = {}
    for evaluation in evaluations:
        task, split = evaluation.task.name, evaluation.split
        if fault := _without_learning(evaluation):
            found[task, "majority"] = f"{task}: {fault} ({split}); {_TRY_LEARNING}"
        if fault := _outside(evaluation):
            found[task, "outside"] = f"{task}: {fault} ({split})"
    return found


def loss_warnings(records: Iterable[Mapping[str, Any]], learned: Iterable[str]) -> dict[tuple[str, str], str]:
    """Tasks whose training loss does not fall.

    Args:
        records: the lines of metrics.jsonl.
        learned: tasks whose scores say that they were learned; their loss may have been low from the first line on.
    """
    losses: dict[str, list[float]] = {}
    for record in records:
        for task, loss in record.get("loss_by_task", {}).items():
            losses.setdefault(task, []).append(loss)
    found = {}
    for task, values in losses.items():
        quarter = len(values) // 4
        if task in learned or len(values) < _FEW_LINES:
            continue
        first, last = fmean(values[:quarter]), fmean(values[-quarter:])
        if last > _FALLEN * first:
            found[task, "loss"] = (
                f"{task}: the training loss does not fall ({first:.3f} per token in the first quarter of the log, "
                f"{last:.3f} in the last); try a lower training.learning_rate, or check that inputs tell the answer"
            )
    return found


def learned_tasks(evaluations: Iterable[TaskEvaluation]) -> list[str]:
    """Tasks whose principal metric is above what the most frequent answer scores."""
    return [own.task.name for own in evaluations if not own.task.is_free_text and not _is_at_majority(own)]


def _without_learning(evaluation: TaskEvaluation) -> str | None:
    rows, references = len(evaluation.references), set(evaluation.references)
    if evaluation.task.is_free_text or rows < _FEW_ROWS or len(references) < 2:
        return None
    answers = {answer.text.strip() for answer in evaluation.answers}
    if len(answers) == 1:
        return f"the same answer, '{min(answers)}', for all {rows:,} rows, which have {len(references)} labels"
    if _is_at_majority(evaluation):
        score = evaluation.scores[0]
        return f"{score.metric} {score.value:.2f} is no better than the most frequent answer's, {score.majority:.2f}"
    return None


def _is_at_majority(evaluation: TaskEvaluation) -> bool:
    score = evaluation.scores[0]
    return oriented(score.metric, score.value) <= oriented(score.metric, score.majority)


def _outside(evaluation: TaskEvaluation) -> str | None:
    details, rows = evaluation.details, len(evaluation.references)
    if details is None or details["outside"] <= _SHARE_OUTSIDE * rows:
        return None
    shown = ", ".join(f"'{answer}' ({count:,})" for answer, count in details["outside_answers"].items())
    if evaluation.task.labels:
        what, remedy = "no label", "evaluation.method=rank never answers outside the labels; more training helps too"
    else:
        what, remedy = "no number in its range", "more training.max_steps may help"
    return f"{details['outside']:,} of {rows:,} answers are {what}: {shown}; {remedy}"
