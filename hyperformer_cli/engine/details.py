"""What one score hides: figures per label, which labels are taken for which, answers that are no label at all."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hyperformer_cli.tasks.task import Task

OUTSIDE = -1  # the class of an answer that is none of the labels
_SHOWN = 5  # answers outside the label set, the most frequent ones
_LONGEST = 60  # characters of each


def is_outside(task: Task, answer: str) -> bool:
    """Whether an answer is no label, or no number (in the task's range) where numbers are predicted."""
    value = task.parse_prediction(answer)
    if value is None or task.range is None or not isinstance(value, float):
        return value is None
    return not task.range[0] <= value <= task.range[1]


def task_details(task: Task, split: str, answers: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """An entry of `details` in results.json, for a task that predicts labels or numbers.

    Args:
        task: the task.
        split: the name of the split.
        answers, references: texts, one pair per row.

    Returns:
        `task`, `split`; `outside`, the number of answers outside the label set, and `outside_answers`, the most
        frequent of them with their numbers. For labels also `labels`, with precision, recall and F1 in per cent, and
        the numbers of rows that have a label (`examples`) and were given it (`predicted`); and `confusion`, one row
        per label, one column per predicted label, and a last column for answers outside the label set.
    """
    outside = Counter(answer[:_LONGEST] for answer in answers if is_outside(task, answer))
    found = {
        "task": task.name,
        "split": split,
        "outside": outside.total(),
        "outside_answers": dict(outside.most_common(_SHOWN)),
    }
    return found | (_per_label(task, answers, references) if task.labels else {})


def _per_label(task: Task, answers: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # a second, and long after the start

    expected = [task.label_texts.index(text) for text in references]
    predicted = [OUTSIDE if (value := task.parse_prediction(text)) is None else value for text in answers]
    numbers = list(range(len(task.label_texts)))
    confusion = confusion_matrix(expected, predicted, labels=[*numbers, OUTSIDE])[:-1]
    columns = precision_recall_fscore_support(expected, predicted, labels=numbers, zero_division=0)
    labels = [
        {
            "label": name,
            "precision": round(100 * float(precision), 4),
            "recall": round(100 * float(recall), 4),
            "f1": round(100 * float(f1), 4),
            "examples": int(support),
            "predicted": int(confusion[:, number].sum()),
        }
        for number, (name, precision, recall, f1, support) in enumerate(zip(task.label_names, *columns, strict=True))
    ]
    return {"labels": labels, "confusion": confusion.tolist()}
