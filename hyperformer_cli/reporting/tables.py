"""The paper's tables from groups of runs: Table 1, few-shot, low-resource, ablation, parameters."""

import re
from collections.abc import Sequence

from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting.collect import FewShot, Metric
from hyperformer_cli.reporting.fewshot import fewshot_tables
from hyperformer_cli.reporting.groups import (
    SIZE,
    Curve,
    Group,
    distinct_names,
    is_miniature,
    is_table,
    low_resource_curves,
    without_size,
)
from hyperformer_cli.reporting.paper import (
    departure,
    order_of_averages,
    printed_average,
    printed_parameters,
    printed_scores,
)
from hyperformer_cli.reporting.table import Cell, Column, Row, Table, over_seeds

MEAN_OF_METRICS = ("average", "mean of metrics")
MEAN_OF_TASKS = ("average", "mean of tasks")
_FULL = re.compile(r"\bfull\b", re.IGNORECASE)


def build_tables(groups: Sequence[Group], fewshot: Sequence[FewShot], split: str) -> list[Table]:
    """The tables these runs allow, each once, in the paper's order. Runs of other tasks or metrics have their own.

    Args:
        groups: runs by experiment.
        fewshot: few-shot results, which are of the split they say.
        split: of the scores.

    Raises:
        InputError: there are runs and none has scores on the split.
    """
    scored = [group for group in groups if group.metrics(split)]
    if groups and not scored and not fewshot:
        known = sorted({name for group in groups for name in group.runs[0].scores})
        raise InputError(f"no run has scores on split '{split}'; they have {', '.join(known) or 'none'}")
    comparable = list(families(scored, split).values())
    curves = [own for family in comparable if (own := low_resource_curves(family))]
    ablations = [own for family in comparable if (own := [group for group in family if is_table(group, "ablation")])]
    return [
        *(glue_table(own, split) for family in comparable if (own := table_1_groups(family))),
        *fewshot_tables(fewshot),
        *(low_resource_table(own, split) for own in curves),
        *(ablation_table(own, split) for own in ablations),
        *([parameter_table(groups)] if groups else []),
    ]


def table_1_groups(family: Sequence[Group]) -> list[Group]:
    """Runs that belong in Table 1: on all of the data, or on a part of it that is no point of a curve; no ablations."""
    in_curves = [group for curve in low_resource_curves(family) for group in curve.groups if group.size is not None]
    return [group for group in family if group not in in_curves and not is_table(group, "ablation")]


def glue_table(groups: Sequence[Group], split: str) -> Table:
    """Table 1: a row a method, a column a task and metric, and both averages.

    `mean of metrics` is the paper's Avg, over GLUE's eleven metrics; `mean of tasks` averages the tasks' own means.
    """
    names, metrics = distinct_names(groups), groups[0].metrics(split)
    rows = []
    for group, name in zip(groups, names, strict=True):
        printed = printed_scores(group, split)
        cells = [over_seeds(group.values(split, metric), printed.get(metric)) for metric in metrics]
        cells.append(over_seeds(group.averages(split, "metrics"), printed_average(group, split)))
        cells.append(over_seeds(group.averages(split, "tasks")))
        rows.append(Row((name,), tuple(cells), _folders(group)))
    compared = [(g, n) for g, n in zip(groups, names, strict=True) if printed_scores(g, split)]
    notes = [
        *(departure(group, name) for group, name in compared),
        *(f"{n} was selected on validation." for g, n in zip(groups, names, strict=True) if g.selected),
        order_of_averages(groups, names, split),
    ]
    return Table(
        kind="glue",
        title=f"{_benchmark(groups)}, {split}, per cent",
        heads=("method",),
        column_heads=("task", "metric"),
        columns=tuple(Column(names) for names in (*metrics, MEAN_OF_METRICS, MEAN_OF_TASKS)),
        rows=tuple(rows),
        notes=tuple(note for note in notes if note),
        lay_down=True,
    )


def low_resource_table(curves: Sequence[Curve], split: str) -> Table:
    """The low-resource figure as a table: mean of metrics by method and training examples a task."""
    sizes = sorted({group.size for curve in curves for group in curve.groups}, key=lambda size: (size is None, size))
    rows = []
    for curve, name in zip(curves, curve_names(curves), strict=True):
        by_size = {group.size: over_seeds(group.averages(split, "metrics")) for group in curve.groups}
        folders = tuple(folder for group in curve.groups for folder in _folders(group))
        rows.append(Row((name,), tuple(by_size.get(size) for size in sizes), folders))
    groups = [group for curve in curves for group in curve.groups]
    return Table(
        kind="low-resource",
        title=f"{_benchmark(groups)}, low resource, {split}: mean of metrics by training examples a task, per cent",
        heads=("method",),
        column_heads=("training examples a task",),
        columns=tuple(Column(("all" if size is None else f"{size}",)) for size in sizes),
        rows=tuple(rows),
    )


def curve_names(curves: Sequence[Curve]) -> list[str]:
    return distinct_names([curve.groups[0] for curve in curves], {SIZE})


def ablation_table(groups: Sequence[Group], split: str) -> Table:
    """The ablation table: the average without a part, and what that changes against the full model."""
    full = [group for group in groups if _FULL.search(group.paper.row)]
    reference = over_seeds(full[0].averages(split, "metrics")).mean if len(full) == 1 else None
    rows = []
    for group, name in zip(groups, distinct_names(groups), strict=True):
        average = over_seeds(group.averages(split, "metrics"), printed_average(group, split))
        change = None if reference is None or group in full else Cell(average.mean - reference)
        rows.append(Row((name,), (average, change, over_seeds(group.averages(split, "tasks"))), _folders(group)))
    return Table(
        kind="ablation",
        title=f"{_benchmark(groups)}, ablation, {split}, per cent",
        heads=("variant",),
        column_heads=("",),
        columns=(Column(("mean of metrics",)), Column(("against full",), "{:+.2f}"), Column(("mean of tasks",))),
        rows=tuple(rows),
        notes=() if reference is not None else ("Not compared: there is not one row named full.",),
    )


def parameter_table(groups: Sequence[Group]) -> Table:
    """The parameter columns: total relative to the backbone, trained a task in per cent of it, trained."""
    different = list({without_size(group): group for group in reversed(groups)}.values())[::-1]
    names, rows, notes = distinct_names(different, {SIZE}), [], []
    for group, name in zip(different, names, strict=True):
        printed, counted = printed_parameters(group), group.runs[0].parameters
        total = printed and (float(printed.total[:-1]) if _is_multiple(printed.total) else printed.total)
        cells = (
            Cell(counted["total_ratio"], printed=total),
            Cell(counted["trained_per_task_percent"], printed=printed and printed.per_task),
            Cell(counted["trained"]),
        )
        rows.append(Row((name,), cells, _folders(group)))
        notes.append(departure(group, name) if printed else None)
    return Table(
        kind="parameters",
        title="Parameters relative to the backbone",
        heads=("method",),
        column_heads=("",),
        columns=(
            Column(("total",), "{:.2f}x"),
            Column(("trained a task, %",)),
            Column(("trained",), "{:,.0f}"),
        ),
        rows=tuple(rows),
        notes=tuple(note for note in notes if note),
    )


def families(groups: Sequence[Group], split: str) -> dict[frozenset[Metric], list[Group]]:
    """Groups by what they were scored on: averages over other metrics do not compare."""
    found: dict[frozenset[Metric], list[Group]] = {}
    for group in groups:
        found.setdefault(frozenset(group.metrics(split)), []).append(group)
    return found


def _benchmark(groups: Sequence[Group]) -> str:
    if all(is_miniature(group.recipe) for group in groups):
        return "Miniature"
    return "GLUE" if any(group.paper is not None for group in groups) else "Scores"


def _is_multiple(total: str) -> bool:
    return re.fullmatch(r"[\d.]+x", total) is not None


def _folders(group: Group) -> tuple[str, ...]:
    return tuple(str(run.folder) for run in group.runs)
