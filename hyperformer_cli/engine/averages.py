"""The two averages of a run's figures."""

from collections.abc import Sequence

from hyperformer_cli.tasks.metrics import oriented


def mean_of_metrics_and_tasks(scores: Sequence[tuple[str, str, float]]) -> dict[str, float]:
    """Both averages of (task, metric, value) triples, of which a metric that is better lower enters `oriented`.

    `metrics` is the mean over all metrics, the paper's `Avg` (of GLUE's eleven figures); `tasks` the mean over the
    tasks' own means.
    """
    values = [(task, oriented(metric, value)) for task, metric, value in scores]
    by_task: dict[str, list[float]] = {}
    for task, value in values:
        by_task.setdefault(task, []).append(value)
    means = [sum(own) / len(own) for own in by_task.values()]
    return {"metrics": sum(value for _, value in values) / len(values), "tasks": sum(means) / len(means)}
