"""The paper's figures, as the recipes state them: what is printed for a run, and the order of its methods."""

import functools
import itertools
import re
from collections.abc import Mapping, Sequence

from hyperformer_cli.config.loading import load_recipe, shipped_recipes
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.sections import PaperRow, PrintedParameters
from hyperformer_cli.reporting.collect import Metric
from hyperformer_cli.reporting.groups import Group, differing, is_miniature, override, settings
from hyperformer_cli.reporting.table import TableCell

_MOST_KEYS = 4  # named in a note


def printed_scores(group: Group, split: str) -> tuple[Mapping[Metric, float], float | None]:
    """Printed per cent by task and metric, and the printed mean of metrics. The paper's tables are of test splits.

    The mean is None where the run was scored on other tasks or metrics than the paper's row.
    """
    if split != "test" or group.paper is None or is_miniature(group.recipe):
        return {}, None
    expected = group.paper.expected or {}
    by_task = {task: metrics for task, metrics in expected.items() if isinstance(metrics, dict)}
    scores = {(task, metric): value for task, metrics in by_task.items() for metric, value in metrics.items()}
    return scores, _average(group.paper) if set(scores) == set(group.metrics(split)) else None


def printed_parameters(group: Group) -> PrintedParameters | None:
    """The printed parameter columns."""
    return None if group.paper is None or is_miniature(group.recipe) else group.paper.parameters


def recipe_difference(group: Group, name: str) -> str | None:
    """A sentence on what differs between a run's recipe and the shipped recipe of its row of the paper."""
    shipped = _shipped_rows().get((str(group.paper.table), group.paper.row)) if group.paper else None
    own = settings(group.recipe)
    keys = differing([own, settings(shipped)]) if shipped else []
    if not keys:
        return None
    said = ", ".join(override(key, own.get(key)) for key in keys[:_MOST_KEYS])
    more = f" and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
    return f"{name} differs from the shipped recipe: {said}{more}."


def order_of_averages(groups: Sequence[Group], names: Sequence[str], split: str) -> str | None:
    """A sentence on whether the methods' means of metrics are in the paper's order; None where it has none.

    A run is compared with its own printed average. Where fewer than two have one, all are compared with Table 1 at
    T5-base, by the method's name.
    """
    if split != "test":
        return None
    whose, printed = "the paper's", [printed_scores(group, split)[1] for group in groups]
    if sum(average is not None for average in printed) < 2:
        whose, base = "the paper's at T5-base", _averages_at_base()
        printed = [base.get(_method(group.row or "")) for group in groups]
        if None in printed:
            return None
    by_name = dict(zip(names, groups, strict=True))
    expected = {name: average for name, average in zip(names, printed, strict=True) if average is not None}
    # Several settings of one row have no place in the paper's order.
    if len(expected) < 2 or len({by_name[name].row for name in expected}) < len(expected):
        return None
    cells = {name: by_name[name].average(split) for name in expected}
    ours = sorted(cells, key=lambda name: -cells[name].mean)
    theirs = sorted(cells, key=lambda name: -expected[name])
    verdict = f"the same as {whose}" if ours == theirs else f"not {whose}, which is {' > '.join(theirs)}"
    return f"Order of the means of metrics: {' > '.join(ours)}: {verdict}.{_caveat([(n, cells[n]) for n in ours])}"


def _caveat(ordered: Sequence[tuple[str, TableCell]]) -> str:
    """What the seeds do not decide."""
    if any(cell.std is None for _, cell in ordered):
        return " Some rows have one seed only, so chance may decide the order."
    near = [
        f"{first} and {second}"
        for (first, upper), (second, lower) in itertools.pairwise(ordered)
        if upper.mean - lower.mean < max(upper.std or 0, lower.std or 0)
    ]
    return f" Closer than a standard deviation: {'; '.join(near)}." if near else ""


def _averages_at_base() -> dict[str, float]:
    """Table 1's averages at T5-base, by method."""
    at_base = {row: recipe.paper for (table, row), recipe in _shipped_rows().items() if table == "1" and "BASE" in row}
    return {_method(row): average for row, paper in at_base.items() if (average := _average(paper)) is not None}


def _average(paper: PaperRow | None) -> float | None:
    """The printed mean of metrics."""
    average = paper.expected.get("average") if paper and paper.expected else None
    return None if isinstance(average, dict) else average


def _method(row: str) -> str:
    return re.sub(" (BASE|SMALL|MINI)$", "", row)


@functools.cache
def _shipped_rows() -> dict[tuple[str, str], Recipe]:
    recipes = [load_recipe(path) for path in shipped_recipes().values()]
    return {(str(recipe.paper.table), recipe.paper.row): recipe for recipe in recipes if recipe.paper}
