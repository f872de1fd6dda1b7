"""Every answer of an evaluation, one record per row: what was asked, what was answered, and whether it is right."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of
from hyperformer_cli.data.tokenization import TokenizedSplit
from hyperformer_cli.engine.answers import label_scores
from hyperformer_cli.engine.details import is_outside
from hyperformer_cli.engine.scoring import TaskEvaluation
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.schema.section import SplitName
from hyperformer_cli.tasks.task import Task

_COLUMNS = ("task", "split", "row", "input", "gold", "gold_label", "prediction", "label", "correct", "outside", "error")


def prediction_columns(tasks: Iterable[Task]) -> list[str]:
    """The columns of such records in CSV."""
    names = dict.fromkeys(name for task in tasks if task.labels for name in task.label_names)
    return [*_COLUMNS, *(f"scores.{name}" for name in names)]


def prediction_records(
    run: OpenedRun, evaluation: TaskEvaluation, split: SplitName, data: TokenizedSplit
) -> Iterator[dict[str, Any]]:
    """The records of one task on one split.

    Args:
        run: whose recipe says where the rows are.
        evaluation: of the first examples of `data`.
        split: the role.
        data: the examples.

    Yields:
        `task`, `split`, `row` (its number in the data set's split, from 0), `input` (before it is cut to the model's
        length), `gold` and `prediction` (texts); for labels their names, `gold_label` and `label`, and `scores`, each
        label's share of the probability of all labels; for numbers `error`, the absolute difference; `correct`, but
        for numbers; `outside`, whether the answer is no label, or no number in the task's range.
    """
    task, prefix = evaluation.task, run.recipe.adapter.needs_task_prefix
    table = load_rows(task, source_split_of(task, split), run.recipe.data.source).table.select(task.columns)
    numbers: Sequence[int] = data.rows[: len(evaluation.answers)].tolist()
    rows = table.take(list(numbers)).to_pylist()
    for number, row, answer, gold in zip(numbers, rows, evaluation.answers, evaluation.references, strict=True):
        found = {"task": task.name, "split": split, "row": number, "input": task.input_text(row, prefix), "gold": gold}
        expected, value = task.parse_prediction(gold), task.parse_prediction(answer.text)
        if task.labels:
            found["gold_label"] = task.label_names[task.label_texts.index(gold)]
        found["prediction"] = answer.text
        if task.labels:
            found["label"] = task.label_names[value] if isinstance(value, int) else None
        if task.is_regression:
            both = isinstance(value, float) and isinstance(expected, float)
            found["error"] = round(abs(value - expected), 4) if both else None  # type: ignore[operator]
        else:
            found["correct"] = value == expected
        if not task.is_free_text:
            found["outside"] = is_outside(task, answer.text)
        if task.labels:
            found["scores"] = label_scores(task, answer.log_likelihoods)
        yield found
