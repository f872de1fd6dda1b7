"""The metrics as one table. A new metric is an entry here, and a class in `data/metrics.py`."""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Literal

Kind = Literal["labels", "numbers", "text"]  # what a task predicts


@dataclass(frozen=True)
class Metric:
    """One metric; its values are in per cent.

    Attributes:
        scores: the kind of prediction it scores.
        short_name: its name in the head of a table.
        hub_id: its name in the metadata of a model card.
        implementation: `module:attribute` of an `evaluate.Metric` whose result, under the metric's name, is a hundredth
            of the value.
        range: the lowest and the highest value.
        higher_is_better: whether the highest value is the best.
        label_count: the number of labels a task must have; None for any.
    """

    scores: Kind
    short_name: str
    hub_id: str
    implementation: str
    range: tuple[float, float] = (0, 100)
    higher_is_better: bool = True
    label_count: int | None = None

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
    "pearson": Metric("numbers", "Pearson", "pearsonr", f"{_CLASSES}:Pearson", range=(-100, 100)),
    "spearmanr": Metric("numbers", "Spearman", "spearmanr", f"{_CLASSES}:Spearman", range=(-100, 100)),
    "bleu": Metric("text", "BLEU", "bleu", f"{_CLASSES}:Bleu"),
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
