"""The implementations of the metrics, as `evaluate.Metric` modules that need no network, and the scoring of texts.

Importing `evaluate` takes seconds: import this module where it is used.
"""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
import sacrebleu
from scipy import stats
from sklearn import metrics as sklearn_metrics

from hyperformer_cli.tasks.metrics import METRICS
from hyperformer_cli.tasks.task import Task

INVALID = -1  # the class, or the number, of a prediction that is neither


class LocalMetric(evaluate.Metric):
    """Base of the metrics: over class numbers, of which a prediction may be INVALID, or another `value_type`."""

    value_type = "int64"

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value(self.value_type)
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="",
            features=datasets.Features({"predictions": value, "references": value}),
        )

    def compute(self, *, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        """As `evaluate` does, without the table that it writes first, which takes longer than most metrics."""
        return self._compute(predictions=predictions, references=references)


class Accuracy(LocalMetric):
    """Share of predictions that equal their reference; an invalid one counts as wrong."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"accuracy": sklearn_metrics.accuracy_score(references, predictions)}


class F1(LocalMetric):
    """F1 of class 1 of two; an invalid prediction counts as the opposite of its reference."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        valid = np.where(np.equal(predictions, INVALID), np.subtract(1, references), predictions)
        return {"f1": sklearn_metrics.f1_score(references, valid, zero_division=0)}


class MatthewsCorrelation(LocalMetric):
    """Matthews correlation; invalid predictions are a class of their own."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"matthews_correlation": sklearn_metrics.matthews_corrcoef(references, predictions)}


class MacroF1(LocalMetric):
    """The unweighted mean of every label's F1, over the labels that occur; an invalid prediction is none of them."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"macro_f1": _mean_f1(predictions, references, "macro")}


class WeightedF1(LocalMetric):
    """The mean of every label's F1, weighted by its share of the references."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"weighted_f1": _mean_f1(predictions, references, "weighted")}


class BalancedAccuracy(LocalMetric):
    """The unweighted mean of every label's recall, over the labels of the references."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        labels = np.unique(references)
        recall = sklearn_metrics.recall_score(references, predictions, labels=labels, average="macro", zero_division=0)
        return {"balanced_accuracy": recall}


class MeanAbsoluteError(LocalMetric):
    """Mean absolute error in the unit of the numbers; an answer that is no number counts as INVALID.

    A hundredth of it, as of every metric.
    """

    value_type = "float64"

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        return {"mean_absolute_error": sklearn_metrics.mean_absolute_error(references, predictions) / 100}


class ExactMatch(LocalMetric):
    """Share of texts that equal their reference, but for spaces around them."""

    value_type = "string"

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {
            "exact_match": float(
                np.mean([p.strip() == r.strip() for p, r in zip(predictions, references, strict=True)])
            )
        }


class Bleu(LocalMetric):
    """sacrebleu's corpus BLEU over texts with one reference each."""

    value_type = "string"

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {"bleu": sacrebleu.corpus_bleu(predictions, [references]).score / 100}


class Rouge1(LocalMetric):
    """rouge_score's ROUGE-1, the F measure without stemming, as the mean over texts with one reference each."""

    value_type = "string"

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {"rouge1": _rouge("rouge1", predictions, references)}


class Rouge2(LocalMetric):
    """The same for ROUGE-2."""

    value_type = "string"

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {"rouge2": _rouge("rouge2", predictions, references)}


class RougeL(LocalMetric):
    """The same for ROUGE-L, over whole texts."""

    value_type = "string"

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        return {"rougeL": _rouge("rougeL", predictions, references)}


class Pearson(LocalMetric):
    """Pearson correlation; 0 where one side is constant, as a single row is."""

    value_type = "float64"

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        return {"pearson": _correlation(stats.pearsonr, predictions, references)}


class Spearman(LocalMetric):
    """Spearman rank correlation; 0 where one side is constant."""

    value_type = "float64"

    def _compute(self, predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
        return {"spearmanr": _correlation(stats.spearmanr, predictions, references)}


def _mean_f1(predictions: Sequence[int], references: Sequence[int], average: str) -> float:
    labels = np.setdiff1d(np.union1d(predictions, references), [INVALID])
    return sklearn_metrics.f1_score(references, predictions, labels=labels, average=average, zero_division=0)


def _rouge(name: str, predictions: Sequence[str], references: Sequence[str]) -> float:
    from rouge_score.rouge_scorer import RougeScorer  # an optional dependency; see `tasks.metrics.check_libraries`

    scorer = RougeScorer([name])
    pairs = zip(references, predictions, strict=True)
    return float(np.mean([scorer.score(reference, prediction)[name].fmeasure for reference, prediction in pairs]))


def score(task: Task, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Every metric of a task over decoded texts, in per cent (see `tasks.metrics.Metric`).

    A text that cannot be read counts as INVALID.
    """
    predicted, expected = (
        [INVALID if (value := task.parse_prediction(text)) is None else value for text in texts]
        for texts in (predictions, references)
    )
    values = {}
    for name in task.metrics:
        metric = METRICS[name].load()(keep_in_memory=True)
        values[name] = 100 * float(metric.compute(predictions=predicted, references=expected)[name])
    return values


def majority_score(task: Task, references: Sequence[str]) -> dict[str, float]:
    """The scores of always answering the most frequent reference, to compare other scores with.

    Of equally frequent ones it is the last, with which F1 is not 0.
    """
    counts = Counter(references)
    most_frequent = max(sorted(counts, reverse=True), key=counts.__getitem__)
    return score(task, [most_frequent] * len(references), references)


def _correlation(
    function: Callable[..., Sequence[float]], predictions: Sequence[float], references: Sequence[float]
) -> float:
    if len(references) < 2:  # of which scipy makes an error
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of constant input, for which it returns NaN
        value = float(function(predictions, references)[0])
    return value if math.isfinite(value) else 0.0
