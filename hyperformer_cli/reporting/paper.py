"""The paper's figures, as the recipes state them: what is printed for a run, and the order of its methods."""

import functools
import itertools
import re
from collections.abc import Mapping, Sequence

from hyperformer_cli.config.loading import load_recipe, shipped_recipes
from hyperformer_cli.config.recipe import PrintedParameters, Recipe
from hyperformer_cli.reporting.collect import Metric
from hyperformer_cli.reporting.groups import Group, as_text, differing, is_miniature, settings
from hyperformer_cli.reporting.table import Cell, over_seeds

_ROW = re.compile(r"(?P<method>.+) (?P<backbone>BASE|SMALL|MINI)")
_MOST_KEYS = 4  # named in a note


def printed_scores(group: Group, split: str) -> Mapping[Metric, float]:
    """Printed per cent by task and metric. The paper's tables are of test splits."""
    expected = _expected(group, split)
    return {
        (task, metric): value
        for task, metrics in expected.items()
        if isinstance(metrics, dict)
        for metric, value in metrics.items()
    }


def printed_average(group: Group, split: str) -> float | None:
    """The printed mean of metrics; None where the run was scored on other tasks or metrics than the paper's row."""
    average = _expected(group, split).get("average")
    same = set(printed_scores(group, split)) == set(group.metrics(split))
    return average if same and isinstance(average, int | float) else None


def printed_parameters(group: Group) -> PrintedParameters | None:
    """The printed parameter columns."""
    return None if group.paper is None or is_miniature(group.recipe) else group.paper.parameters


def departure(group: Group, name: str) -> str | None:
    """A sentence naming what a run does otherwise than the shipped recipe of its row of the paper."""
    shipped = _shipped_rows().get((str(group.paper.table), group.paper.row)) if group.paper else None
    if shipped is None:
        return None
    own, theirs = settings(group.recipe), settings(shipped)
    keys = differing(own, theirs)
    if not keys:
        return None
    said = [f"{key}={as_text(own.get(key))}" for key in keys[:_MOST_KEYS]]
    more = f" and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
    return f"{name} is not the shipped recipe: {', '.join(said)}{more}."


def order_of_averages(groups: Sequence[Group], names: Sequence[str], split: str) -> str | None:
    """A sentence on whether the methods' means of metrics come in the paper's order; None where it has none.

    A run is compared with its own printed average, or, where not all have one, with Table 1's at T5-base by the
    method's name.
    """
    if split != "test":
        return None
    printed = {name: printed_average(group, split) for group, name in zip(groups, names, strict=True)}
    whose = "the paper's"
    if sum(average is not None for average in printed.values()) < 2:
        base = {_method(row): average for row, average in _base_averages().items()}
        printed = {n: base.get(_method(g.paper.row)) if g.paper else None for g, n in zip(groups, names, strict=True)}
        if None in printed.values():
            return None
        whose = "the paper's at T5-base"
    cells = {
        name: over_seeds(group.averages(split, "metrics"))
        for group, name in zip(groups, names, strict=True)
        if printed[name] is not None
    }
    rows = [group.paper.row for group, name in zip(groups, names, strict=True) if name in cells]
    if len(cells) < 2 or len(set(rows)) < len(rows):  # several settings of one row have no place in the paper's order
        return None
    ours = sorted(cells, key=lambda name: -cells[name].mean)
    theirs = sorted(cells, key=lambda name: -printed[name])
    order = " > ".join(ours)
    verdict = f"as {whose}" if ours == theirs else f"not {whose}, which is {' > '.join(theirs)}"
    return f"Order of the means of metrics: {order}: {verdict}.{_caveat(ours, cells)}"


def _caveat(ours: Sequence[str], cells: Mapping[str, Cell]) -> str:
    """What the seeds do not decide."""
    if any(cell.std is None for cell in cells.values()):
        return " With one seed in a row, how far chance decides is not known."
    near = [
        f"{first} and {second}"
        for first, second in itertools.pairwise(ours)
        if cells[first].mean - cells[second].mean < max(cells[first].std, cells[second].std)
    ]
    return f" Closer than a standard deviation: {'; '.join(near)}." if near else ""


def _expected(group: Group, split: str) -> Mapping[str, float | dict[str, float]]:
    if split != "test" or group.paper is None or is_miniature(group.recipe):
        return {}
    return group.paper.expected or {}


def _base_averages() -> dict[str, float]:
    rows = {row: recipe for (table, row), recipe in _shipped_rows().items() if table == "1"}
    return {
        row: recipe.paper.expected["average"]
        for row, recipe in rows.items()
        if recipe.paper.expected and _backbone(row) == "BASE"
    }


def _method(row: str) -> str:
    found = _ROW.fullmatch(row)
    return found["method"] if found else row


def _backbone(row: str) -> str | None:
    found = _ROW.fullmatch(row)
    return found["backbone"] if found else None


@functools.cache
def _shipped_rows() -> dict[tuple[str, str], Recipe]:
    recipes = [load_recipe(path) for path in shipped_recipes().values()]
    return {(str(recipe.paper.table), recipe.paper.row): recipe for recipe in recipes if recipe.paper}
