"""The metrics as one table. A new metric is an entry here, and a class in `data/metrics.py`."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any, Literal

from hyperformer_cli.errors import InputError

Kind = Literal["labels", "numbers", "text"]  # what a task predicts


@dataclass(frozen=True)
class Metric:
    """One metric; its values are in per cent, or in the unit of the task's numbers.

    Attributes:
        scores: the kind of prediction it scores.
        short_name: its name in the head of a table.
        hub_id: its name in the metadata of a model card.
        implementation: `module:attribute` of an `evaluate.Metric` whose result, under the metric's name, is a hundredth
            of the value.
        range: the lowest and the highest value.
        higher_is_better: whether the highest value is the best.
        label_count: the number of labels a task must have; None for any.
        is_per_cent: False for an error in the unit of the task's numbers.
        library: the module that computes it, if that is an optional dependency.
    """

    scores: Kind
    short_name: str
    hub_id: str
    implementation: str
    range: tuple[float, float] = (0, 100)
    higher_is_better: bool = True
    label_count: int | None = None
    is_per_cent: bool = True
    library: str | None = None

    def load(self) -> Any:
        """The class that computes it; importing `evaluate` takes seconds."""
        return resolve_name(self.implementation)


_CLASSES = "hyperformer_cli.data.metrics"
METRICS: dict[str, Metric] = {
    "accuracy": Metric("labels", "acc", "accuracy", f"{_CLASSES}:Accuracy"),
    "f1": Metric("labels", "F1", "f1", f"{_CLASSES}:F1", label_count=2),
    "matthews_correlation": Metric(
        "labels", "Matthews", "matthews_correlation", f"{_CLASSES}:MatthewsCorrelation", range=(-100, 100)
    ),
    "macro_f1": Metric("labels", "macro F1", "f1", f"{_CLASSES}:MacroF1"),
    "weighted_f1": Metric("labels", "weighted F1", "f1", f"{_CLASSES}:WeightedF1"),
    "balanced_accuracy": Metric("labels", "balanced acc", "balanced_accuracy", f"{_CLASSES}:BalancedAccuracy"),
    "pearson": Metric("numbers", "Pearson", "pearsonr", f"{_CLASSES}:Pearson", range=(-100, 100)),
    "spearmanr": Metric("numbers", "Spearman", "spearmanr", f"{_CLASSES}:Spearman", range=(-100, 100)),
    "mean_absolute_error": Metric(
        "numbers", "MAE", "mae", f"{_CLASSES}:MeanAbsoluteError", higher_is_better=False, is_per_cent=False
    ),
    "bleu": Metric("text", "BLEU", "bleu", f"{_CLASSES}:Bleu"),
    "exact_match": Metric("text", "exact match", "exact_match", f"{_CLASSES}:ExactMatch"),
    "rouge1": Metric("text", "ROUGE-1", "rouge", f"{_CLASSES}:Rouge1", library="rouge_score"),
    "rouge2": Metric("text", "ROUGE-2", "rouge", f"{_CLASSES}:Rouge2", library="rouge_score"),
    "rougeL": Metric("text", "ROUGE-L", "rouge", f"{_CLASSES}:RougeL", library="rouge_score"),
}
DEFAULT_METRICS: dict[Kind, tuple[str, ...]] = {
    "labels": ("accuracy",),
    "numbers": ("pearson", "spearmanr"),
    "text": ("bleu",),
}


def oriented(name: str, value: float) -> float:
    """A metric's value such that higher is better: mirrored within its range where lower is.

    A name that the table does not have, from the results of another version, counts as one whose highest value is best.
    """
    metric = METRICS.get(name)
    return value if metric is None or metric.higher_is_better else sum(metric.range) - value


def unit(name: str) -> str:
    """What a metric's values are in: `%`, or nothing for the unit of the task's numbers."""
    metric = METRICS.get(name)
    return "%" if metric is None or metric.is_per_cent else ""


def check_libraries(names: Iterable[str]) -> None:
    """Refuses metrics whose library is not installed, before a run has trained for them.

    Raises:
        InputError: naming the metric and what to install.
    """
    for name in names:
        library = METRICS[name].library
        if library is not None and find_spec(library) is None:
            raise InputError(f"metric '{name}' needs {library}: pip install 'hyperformer[rouge]'")
