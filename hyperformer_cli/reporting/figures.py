"""What the figures show. Colours are Okabe and Ito's, which colour-blind readers can tell apart; markers differ too."""

import itertools
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from hyperformer_cli.reporting.collect import Run
from hyperformer_cli.reporting.groups import Group, distinct_names
from hyperformer_cli.reporting.table import Table, TableCell
from hyperformer_cli.reporting.tables import table_1_groups
from hyperformer_cli.reporting.training_curves import Curves, principal_metrics, training_losses, validation_scores
from hyperformer_cli.tasks.metrics import unit

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SMALL = 8  # points, the font of labels and legends
# Past the last colour, dashed ones.
_LOOKS: list[dict[str, Any]] = list(cycler(linestyle=("-", "--", ":", "-.")) * cycler(color=COLOURS))
_MARKERS = "osD^vPX"
_MOST_LABELS, _MOST_MATRICES = 20, 16  # that can be read in one figure


def draw_low_resource(tables: Sequence[Table]) -> Figure | None:
    """One panel per low-resource table: mean of metrics against training examples per task.

    The standard deviation over seeds is a band. Results on all of the data have no place on the axis.
    """
    tables = [table for table in tables if table.kind == "low-resource"]
    sizes = [{i: int(c.names[0]) for i, c in enumerate(table.columns) if c.names != ("all",)} for table in tables]
    drawn = [(table, own) for table, own in zip(tables, sizes, strict=True) if own]
    if not drawn:
        return None
    figure, panels = panels_for(len(drawn), (5.2, 3.6))
    for panel, (table, own) in zip(panels, drawn, strict=True):
        for number, row in enumerate(table.rows):
            _line(panel, {size: row.cells[i] for i, size in own.items()}, number, row.names[0])
        _examples_axis(panel, own.values())
        panel.set_xlabel(table.column_heads[0])
        panel.set_ylabel(table.figures)
        panel.legend(frameon=False, fontsize=SMALL)
    return figure


def draw_few_shot(tables: Sequence[Table]) -> Figure | None:
    """One panel per target: score against examples with the standard deviation over seeds, the majority dashed."""
    tables = [table for table in tables if table.kind == "few-shot"]
    targets = [(table, target) for table in tables for target in dict.fromkeys(row.names[:2] for row in table.rows)]
    if not targets:
        return None
    figure, panels = panels_for(len(targets))
    for panel, (table, (task, metric)) in zip(panels, targets, strict=True):
        rows = {int(row.names[2]): row.cells for row in table.rows if row.names[:2] == (task, metric)}
        for number, column in enumerate(table.columns[1:]):
            _line(panel, {shots: cells[number + 1] for shots, cells in rows.items()}, number, column.names[0])
        majority = next((cells[0].mean for cells in rows.values() if cells[0]), None)
        if majority is not None:
            panel.axhline(majority, color="grey", linewidth=1, linestyle=(0, (4, 3)), label="majority", zorder=1)
        _examples_axis(panel, rows)
        _describe(panel, task, "training examples", f"{metric} (%)")
    _shared_legend(figure, panels)
    return figure


def draw_training(groups: Sequence[Group]) -> Figure | None:
    """One panel per task: the loss of every seed, one colour per method. Points of curves only if there is no other."""
    drawn = _draw_curves(groups, training_losses)
    if drawn is None:
        return None
    figure, by_task = drawn
    for task, panel in by_task.items():
        _describe(panel, task, "optimizer step", "loss per target token")
        panel.set_yscale("log")  # the first hundred steps would hide the rest
        low, high = panel.get_ylim()
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _shared_legend(figure, list(by_task.values()))
    return figure


def draw_validation(groups: Sequence[Group]) -> Figure | None:
    """One panel per task: its principal metric on validation, of every seed, one colour per method."""
    drawn = _draw_curves(groups, validation_scores)
    if drawn is None:
        return None
    figure, by_task = drawn
    metrics = {task: metric for group in groups for task, metric in principal_metrics(group.runs[0]).items()}
    for task, panel in by_task.items():
        _describe(
            panel, task, "optimizer step", f"{metrics[task]} {f'({unit(metrics[task])})'.replace('()', '')}".strip()
        )
    _shared_legend(figure, list(by_task.values()))
    return figure


def _draw_curves(groups: Sequence[Group], curves_of: Callable[[Run], Curves]) -> tuple[Figure, dict[str, Axes]] | None:
    """One panel per task with a line for every run; None where no run has a log."""
    logged = [(group, [curves_of(run) for run in group.runs]) for group in table_1_groups(groups) or groups]
    logged = [(group, curves) for group, curves in logged if any(curves)]
    tasks = list(dict.fromkeys(task for _, curves in logged for own in curves for task in own))
    if not tasks:
        return None
    names = distinct_names([group for group, _ in logged])
    figure, panels = panels_for(len(tasks))
    for panel, task in zip(panels, tasks, strict=True):
        for look, (_, curves), name in zip(itertools.cycle(_LOOKS), logged, names, strict=False):
            for seed, (steps, values) in enumerate(own[task] for own in curves if task in own):
                marker = "." if len(steps) == 1 else ""
                label = None if seed else name
                panel.plot(steps, values, label=label, linewidth=1.2, alpha=0.85, marker=marker, markersize=4, **look)
        panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure, dict(zip(tasks, panels, strict=True))


def draw_confusions(groups: Sequence[Group], split: str) -> Figure | None:
    """One panel per method and task: the share of each label's rows that were given each label, and the number.

    Of several seeds the first is drawn. Answers outside the label set are the last column, where there are any.
    """
    found = [
        (f"{task}, {name}" if len(groups) > 1 else task, *own)
        for group, name in zip(groups, distinct_names(groups), strict=True)
        for task, own in group.confusions(split).items()
    ]
    found = [entry for entry in found if len(entry[1]) <= _MOST_LABELS][:_MOST_MATRICES]
    if not found:
        return None
    largest = max(len(labels) for _, labels, _ in found)
    side = 1.6 + 0.42 * largest
    figure, panels = panels_for(len(found), (side + 0.6, side))
    for panel, (title, labels, confusion) in zip(panels, found, strict=True):
        counts = np.array(confusion)
        heads = [*labels, "no label"] if counts[:, -1].any() else labels
        counts = counts[:, : len(heads)]
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, j in np.ndindex(counts.shape):
            colour = "white" if shares[i, j] > 0.6 else "black"
            panel.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=SMALL, color=colour)
        panel.set_xticks(range(len(heads)), [textwrap.shorten(h, 18) for h in heads], rotation=30, ha="right")
        panel.set_yticks(range(len(labels)), [textwrap.shorten(name, 18) for name in labels])
        _describe(panel, textwrap.fill(title, 34), "predicted", "gold")
    return figure


def _line(panel: Axes, cells: Mapping[int, TableCell | None], number: int, name: str) -> None:
    """Means by number of examples, with their standard deviations as a band."""
    drawn = {examples: cell for examples, cell in cells.items() if cell}
    look, marker = _LOOKS[number % len(_LOOKS)], _MARKERS[number % len(_MARKERS)]
    means = np.array([cell.mean for cell in drawn.values()])
    spread = np.array([cell.std or 0 for cell in drawn.values()])  # one seed has no band
    panel.plot(list(drawn), means, label=name, marker=marker, markersize=4.5, linewidth=1.5, **look)
    if spread.any():
        panel.fill_between(list(drawn), means - spread, means + spread, alpha=0.18, linewidth=0, color=look["color"])


def _examples_axis(panel: Axes, examples: Iterable[int]) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(sorted(examples)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")


def _describe(panel: Axes, title: str, x: str, y: str) -> None:
    panel.set_title(title, fontsize=10)
    panel.set_xlabel(x, fontsize=SMALL)
    panel.set_ylabel(y, fontsize=SMALL)
    panel.tick_params(labelsize=SMALL)


def panels_for(count: int, size: tuple[float, float] = (3.0, 2.4)) -> tuple[Figure, list[Axes]]:
    """Panels of `size` inches, at most four per line."""
    columns = min(count, 4 if count != 6 else 3)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * lines), layout="constrained")
    return figure, [figure.add_subplot(lines, columns, i + 1) for i in range(count)]


def _shared_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend below all panels, with the methods of any of them."""
    entries: dict[str, Any] = {}
    for panel in panels:
        entries |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    columns = max(1, int(figure.get_figwidth() / (0.6 + 0.06 * max(map(len, entries)))))  # inches per entry, about
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=columns, frameon=False, fontsize=SMALL)
