"""The paper's tables from groups of runs: Table 1, few-shot, low-resource, ablation, parameters."""

import re
from collections.abc import Sequence

from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting.collect import FewShot, Metric
from hyperformer_cli.reporting.comparison import ALL, comparison_table, names_row
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
from hyperformer_cli.reporting.paper import order_of_averages, printed_parameters, printed_scores, recipe_difference
from hyperformer_cli.reporting.table import Column, Row, Table, TableCell, over_seeds


def build_tables(
    groups: Sequence[Group],
    fewshot: Sequence[FewShot],
    split: str,
    with_details: bool = False,
    compare: str | None = None,
) -> list[Table]:
    """The tables these runs allow, in the paper's order. Runs scored on other tasks or metrics have their own tables.

    Args:
        groups: runs by experiment.
        fewshot: few-shot results, whose split is their own.
        split: of the scores.
        with_details: one table more per task, with figures per label.
        compare: a row of Table 1 with which the others are compared, or `all`.

    Raises:
        InputError: there are runs and none has scores on the split.
    """
    scored = [group for group in groups if group.metrics(split)]
    if groups and not scored and not fewshot:
        known = sorted({name for group in groups for name in group.runs[0].scores})
        raise InputError(f"no run has scores on split '{split}'; they have {', '.join(known) or 'none'}")
    by_metrics: dict[frozenset[Metric], list[Group]] = {}  # averages over other metrics do not compare
    for group in scored:
        by_metrics.setdefault(frozenset(group.metrics(split)), []).append(group)
    comparable = by_metrics.values()
    ablations = [[group for group in family if is_table(group, "ablation")] for family in comparable]
    return [
        *(glue_table(own, split) for own in map(table_1_groups, comparable) if own),
        *(_comparisons(list(map(table_1_groups, comparable)), split, compare) if compare else []),
        *fewshot_tables(fewshot),
        *(low_resource_table(curves, split) for curves in map(low_resource_curves, comparable) if curves),
        *(ablation_table(own, split) for own in ablations if own),
        *(label_tables(scored, split) if with_details else []),
        *([parameter_table(groups)] if groups else []),
    ]


def _comparisons(families: Sequence[Sequence[Group]], split: str, compare: str) -> list[Table]:
    """A table for every family of rows with at least two; a named row is of one of them."""
    families = [own for own in families if len(own) > 1]
    if not families:
        raise InputError("--compare: fewer than two rows with scores on the same tasks and metrics")
    if compare != ALL:
        families = [own for own in families if names_row(own, compare)] or families[:1]  # which then says what there is
    return [table for own in families if (table := comparison_table(own, split, compare)) is not None]


def table_1_groups(family: Sequence[Group]) -> list[Group]:
    """Runs that belong in Table 1: on all of the data, or on a part of it that is no point of a curve; no ablations."""
    in_curves = [group for curve in low_resource_curves(family) for group in curve if group.size is not None]
    return [group for group in family if group not in in_curves and not is_table(group, "ablation")]


def glue_table(groups: Sequence[Group], split: str) -> Table:
    """Table 1: one row per method, one column per task and metric, and both averages.

    `mean of metrics` is the paper's Avg, over GLUE's eleven metrics; `mean of tasks` averages the tasks' own means.
    """
    names, metrics = distinct_names(groups), groups[0].metrics(split)
    rows, notes, selected = [], [], []
    for group, name in zip(groups, names, strict=True):
        printed, printed_average = printed_scores(group, split)
        cells = [group.score(split, metric, printed.get(metric)) for metric in metrics]
        cells += [group.average(split, printed=printed_average), group.average(split, "tasks")]
        rows.append(Row((name,), tuple(cells), group.folders))
        notes.append(recipe_difference(group, name) if printed else None)
        selected.append(f"{name} was selected on validation." if group.selected else None)
    notes += [*selected, order_of_averages(groups, names, split)]
    return Table(
        kind="glue",
        title=f"{_benchmark(groups)}, {split}, per cent",
        column_heads=("task", "metric"),
        columns=tuple(map(Column, (*metrics, ("average", "mean of metrics"), ("average", "mean of tasks")))),
        rows=tuple(rows),
        notes=tuple(filter(None, notes)),
        transpose_text=True,
    )


def low_resource_table(curves: Sequence[Curve], split: str) -> Table:
    """The low-resource figure as a table: mean of metrics by method and training examples per task."""
    groups = [group for curve in curves for group in curve]
    sizes = sorted({group.size for group in groups}, key=lambda size: (size is None, size))
    rows = []
    for curve, name in zip(curves, distinct_names([curve[0] for curve in curves], {SIZE}), strict=True):
        by_size = {group.size: group.average(split) for group in curve}
        folders = tuple(folder for group in curve for folder in group.folders)
        rows.append(Row((name,), tuple(map(by_size.get, sizes)), folders))
    return Table(
        kind="low-resource",
        title=f"{_benchmark(groups)}, low resource, {split}: mean of metrics by training examples per task, per cent",
        column_heads=("training examples per task",),
        columns=tuple(Column(("all" if size is None else f"{size}",)) for size in sizes),
        rows=tuple(rows),
        figures=f"mean of {len(groups[0].metrics(split))} metrics, {split} (%)",
    )


def ablation_table(groups: Sequence[Group], split: str) -> Table:
    """The ablation table: the average without a part, and how that differs from the full model's."""
    full = [group for group in groups if re.search(r"\bfull\b", group.row or "", re.IGNORECASE)]
    reference = full[0].average(split).mean if len(full) == 1 else None
    rows = []
    for group, name in zip(groups, distinct_names(groups), strict=True):
        average = group.average(split, printed=printed_scores(group, split)[1])
        change = None if reference is None or group in full else TableCell(average.mean - reference)
        rows.append(Row((name,), (average, change, group.average(split, "tasks")), group.folders))
    return Table(
        kind="ablation",
        title=f"{_benchmark(groups)}, ablation, {split}, per cent",
        row_heads=("variant",),
        columns=(Column(("mean of metrics",)), Column(("against full",), "{:+.2f}"), Column(("mean of tasks",))),
        rows=tuple(rows),
        notes=() if reference is not None else ("Not compared: not exactly one row is named full.",),
    )


def label_tables(groups: Sequence[Group], split: str) -> list[Table]:
    """One table per task with labels: precision, recall and F1 of every label, by method, over the seeds."""
    tables, labelled = [], [group.labels(split) for group in groups]
    for task in dict.fromkeys(task for labels in labelled for task in labels):
        rows = [
            Row(
                (name, label),
                (
                    *(over_seeds([getattr(own, key) for own in figures]) for key in ("precision", "recall", "f1")),
                    *(over_seeds([getattr(own, key)]) for own in figures[:1] for key in ("examples", "predicted")),
                ),
                group.folders,
            )
            for group, name, labels in zip(groups, distinct_names(groups), labelled, strict=True)
            for label, figures in labels.get(task, {}).items()
        ]
        columns = [*(Column((head,)) for head in ("precision", "recall", "F1"))]
        columns += [Column((head,), "{:,.0f}") for head in ("examples", "predicted")]
        several = any(cell is not None and cell.n > 1 for row in rows for cell in row.cells)
        tables.append(
            Table(
                kind="labels",
                title=f"{task}, {split}, per label, per cent",
                row_heads=("method", "label"),
                columns=tuple(columns),
                rows=tuple(rows),
                notes=("The numbers of examples and predictions are those of the first seed.",) if several else (),
            )
        )
    return tables


def parameter_table(groups: Sequence[Group]) -> Table:
    """The parameter columns: total relative to the backbone, trained per task in per cent of it, trained."""
    different = list({without_size(group): group for group in reversed(groups)}.values())[::-1]
    rows, notes = [], []
    for group, name in zip(different, distinct_names(different, {SIZE}), strict=True):
        printed, counted = printed_parameters(group), group.runs[0].parameters
        cells = (
            TableCell(counted.total_ratio, printed=_as_number(printed.total) if printed else None),
            TableCell(counted.trained_per_task_percent, printed=printed.per_task if printed else None),
            TableCell(counted.trained),
        )
        rows.append(Row((name,), cells, group.folders))
        notes.append(recipe_difference(group, name) if printed else None)
    return Table(
        kind="parameters",
        title="Parameters relative to the backbone",
        columns=(Column(("total",), "{:.2f}x"), Column(("trained per task (%)",)), Column(("trained",), "{:,.0f}")),
        rows=tuple(rows),
        notes=tuple(filter(None, notes)),
    )


def _as_number(total: str) -> float | str:
    """1.02 of `1.02x`; another text, such as `1+8x0.01`, as it is."""
    return float(total[:-1]) if re.fullmatch(r"[\d.]+x", total) else total


def _benchmark(groups: Sequence[Group]) -> str:
    if all(is_miniature(group.recipe) for group in groups):
        tasks = {task for group in groups for task in group.recipe.task_names}
        is_bundled = all(task.startswith("mini_") for task in tasks)  # one's own beside them are no benchmark
        return "Miniature" if is_bundled else "Scores"
    return "GLUE" if any(group.paper is not None for group in groups) else "Scores"
