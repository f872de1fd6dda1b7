"""GLUE's metrics as `evaluate.Metric` modules that need no network, and the reading of predictions.

Importing `evaluate` takes seconds: import this module where it is used.
"""

import math
import warnings
from collections import Counter
from collections.abc import Sequence

import datasets
import evaluate
import numpy as np
import sacrebleu
from scipy import stats
from sklearn import metrics as sklearn_metrics

from hyperformer_cli.data.tasks import Task

INVALID = -1  # the class, or the number, of a prediction that is not one


class _OfLabels(evaluate.Metric):
    """Base of metrics over class numbers, where a prediction may be INVALID, or over other values."""

    value_type = "int64"

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value(self.value_type)
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="",
            features=datasets.Features({"predictions": value, "references": value}),
        )


class _OfNumbers(_OfLabels):
    """Base of metrics over numbers."""

    value_type = "float64"


class Accuracy(_OfLabels):
    """Share of predictions that equal their reference; an invalid one counts as wrong."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"accuracy": sklearn_metrics.accuracy_score(references, predictions)}


class F1(_OfLabels):
    """F1 of class 1 of two; an invalid prediction counts as the opposite of its reference."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        references, predictions = np.asarray(references), np.asarray(predictions)
        valid = np.where(predictions == INVALID, 1 - references, predictions)
        return {"f1": sklearn_metrics.f1_score(references, valid, zero_division=0)}


class MatthewsCorrelation(_OfLabels):
    """Matthews correlation; invalid predictions are a class of their own."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"matthews_correlation": sklearn_metrics.matthews_corrcoef(references, predictions)}


class Bleu(_OfLabels):
    """sacrebleu's corpus BLEU over texts with one reference each."""

    value_type = "string"

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {"bleu": sacrebleu.corpus_bleu(predictions, [references]).score / 100}


class Pearson(_OfNumbers):
    """Pearson correlation; 0 where one side is constant."""

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        return {"pearson": _correlation(stats.pearsonr, predictions, references)}


class Spearman(_OfNumbers):
    """Spearman rank correlation; 0 where one side is constant."""

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        return {"spearmanr": _correlation(stats.spearmanr, predictions, references)}


METRICS: dict[str, type[evaluate.Metric]] = {
    "accuracy": Accuracy,
    "f1": F1,
    "matthews_correlation": MatthewsCorrelation,
    "pearson": Pearson,
    "spearmanr": Spearman,
    "bleu": Bleu,
}


def score(task: Task, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Every metric of a task over decoded texts, in per cent.

    Args:
        task: the declaration.
        predictions: generated texts.
        references: target texts, as many.
    """
    predicted, expected = [read(task, text) for text in predictions], [read(task, text) for text in references]
    values = {}
    for name in task.metrics:
        metric = METRICS[name](keep_in_memory=True)
        values[name] = 100 * float(metric.compute(predictions=predicted, references=expected)[name])
    return values


def majority_score(task: Task, references: Sequence[str]) -> dict[str, float]:
    """The same for always answering the most frequent reference: what a score must be seen beside.

    Of equally frequent ones it is the last, with which F1 is not 0.
    """
    counts = Counter(references)
    most_frequent = max(sorted(counts, reverse=True), key=counts.__getitem__)
    return score(task, [most_frequent] * len(references), references)


def read(task: Task, text: str) -> int | float | str:
    """A decoded text as class number, as number (INVALID if it is neither), or as it is."""
    text = text.strip()
    if task.is_free_text:
        return text
    if not task.is_regression:
        return task.labels.index(text) if text in task.labels else INVALID
    try:
        number = float(text)
    except ValueError:
        return float(INVALID)
    return number if math.isfinite(number) else float(INVALID)


def _correlation(function: object, predictions: Sequence[float], references: Sequence[float]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of constant input, for which it returns NaN
        value = float(function(predictions, references)[0])
    return value if math.isfinite(value) else 0.0
