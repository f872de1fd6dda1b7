"""Which evaluation is the best so far, by `evaluation.metric`, and when training has gone on without a better one."""

from collections.abc import Sequence
from typing import Any

from hyperformer_cli.config.sections import EvaluationSection
from hyperformer_cli.engine.scoring import Score
from hyperformer_cli.tasks.metrics import oriented


def best_record(settings: EvaluationSection, step: int, scores: Sequence[Score], average: float) -> dict[str, Any]:
    """An evaluation as `best` in results.json: its step and average, and the metric that chooses if it is another."""
    record: dict[str, Any] = {"step": step, "average": average}
    if settings.chosen_metric is not None:
        [value] = [score.value for score in scores if (score.task, score.metric) == settings.chosen_metric]
        record |= {"metric": settings.metric, "value": round(value, 4)}
    return record


def is_better(record: dict[str, Any], best: dict[str, Any] | None) -> bool:
    """Whether an evaluation is better than the best so far; both as `best_record` makes them."""
    return best is None or _height(record) > _height(best)


def _height(record: dict[str, Any]) -> float:
    if "metric" not in record:
        return record["average"]
    return oriented(record["metric"].rpartition(".")[2], record["value"])
