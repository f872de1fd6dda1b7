"""What the figures show. Colours are Okabe and Ito's, which the colour-blind tell apart; markers differ as well."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from hyperformer_cli.reporting.collect import FewShot
from hyperformer_cli.reporting.fewshot import fewshot_names, point, points
from hyperformer_cli.reporting.groups import Curve, Group, distinct_names, low_resource_curves
from hyperformer_cli.reporting.table import Cell, over_seeds
from hyperformer_cli.reporting.tables import curve_names, families, table_1_groups
from hyperformer_cli.reporting.training_curves import training_losses

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_DASHES = ("-", "--", ":", "-.")
_PANEL = (3.0, 2.4)  # inches


def draw_low_resource(groups: Sequence[Group], split: str) -> Figure | None:
    """Mean of metrics against training examples a task, with the standard deviation over seeds as a band.

    A panel for the curves of each set of metrics: means over others do not compare.
    """
    scored = families([group for group in groups if group.metrics(split)], split)
    drawn = [curves for family in scored.values() if (curves := _sized_curves(family))]
    if not drawn:
        return None
    figure, panels = panels_for(len(drawn), (5.2, 3.6))
    for panel, curves in zip(panels, drawn, strict=True):
        for i, (curve, name) in enumerate(zip(curves, curve_names(curves), strict=True)):
            cells = [over_seeds(group.averages(split, "metrics")) for group in curve.groups]
            _line(panel, [group.size for group in curve.groups], cells, i, name)
        _size_axis(panel, [group.size for curve in curves for group in curve.groups])
        panel.set_xlabel("training examples a task")
        panel.set_ylabel(f"mean of {len(curves[0].groups[0].metrics(split))} metrics, {split} (%)")
        panel.legend(frameon=False, fontsize=8)
    return figure


def _sized_curves(family: Sequence[Group]) -> list[Curve]:
    """The curves without their points on all of the data, which have no place on the axis."""
    curves = [[group for group in curve.groups if group.size is not None] for curve in low_resource_curves(family)]
    return [Curve(tuple(groups)) for groups in curves if groups]


def draw_few_shot(fewshot: Sequence[FewShot]) -> Figure | None:
    """A panel a target: score against examples, the standard deviation over seeds as a band, the majority dashed."""
    found = points(fewshot)
    targets = list(dict.fromkeys((task, metric) for task, metric, _ in found))
    if not targets:
        return None
    figure, panels = panels_for(len(targets))
    for panel, (task, metric) in zip(panels, targets, strict=True):
        sizes = [shots for own, other, shots in found if (own, other) == (task, metric)]
        majority = []
        for i, (own, name) in enumerate(zip(fewshot, fewshot_names(fewshot), strict=True)):
            scores = {point(score): score for score in own.scores}
            scores = {shots: scores[task, metric, shots] for shots in sizes if (task, metric, shots) in scores}
            majority += [score.majority for score in scores.values()]
            _line(panel, list(scores), [over_seeds(score.values) for score in scores.values()], i, name)
        panel.axhline(majority[0], color="grey", linewidth=1, linestyle=(0, (4, 3)), label="majority", zorder=1)
        _size_axis(panel, sizes)
        panel.set_title(task, fontsize=10)
        panel.set_xlabel("training examples", fontsize=8)
        panel.set_ylabel(f"{metric} (%)", fontsize=8)
    _shared_legend(figure, panels)
    return figure


def draw_training(groups: Sequence[Group]) -> Figure | None:
    """A panel a task: the loss of every seed, one colour a method. The points of curves only where nothing else is."""
    groups = table_1_groups(groups) or groups
    logged = [(group, [training_losses(run) for run in group.runs]) for group in groups]
    logged = [(group, losses) for group, losses in logged if any(losses)]
    tasks = list(dict.fromkeys(task for _, losses in logged for own in losses for task in own))
    if not tasks:
        return None
    names = distinct_names([group for group, _ in logged])
    figure, panels = panels_for(len(tasks))
    for panel, task in zip(panels, tasks, strict=True):
        for i, ((_, losses), name) in enumerate(zip(logged, names, strict=True)):
            for seed, (steps, values) in enumerate(own[task] for own in losses if task in own):
                single = {"marker": ".", "markersize": 4} if len(steps) == 1 else {}
                label = None if seed else name
                panel.plot(steps, values, label=label, linewidth=1.2, alpha=0.85, **_colour(i), **single)
        panel.set_title(task, fontsize=10)
        panel.set_xlabel("optimizer step", fontsize=8)
        panel.set_ylabel("loss a target token", fontsize=8)
        panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        panel.set_yscale("log")  # the first hundred steps would hide the rest
        low, high = panel.get_ylim()
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _shared_legend(figure, panels)
    return figure


def _line(axes: Axes, sizes: Sequence[int], cells: Sequence[Cell], index: int, name: str) -> None:
    means = [cell.mean for cell in cells]
    spread = [cell.std or 0 for cell in cells]  # of one seed there is no band
    marker = _MARKERS[index % len(_MARKERS)]
    axes.plot(sizes, means, label=name, marker=marker, markersize=4.5, linewidth=1.5, **_colour(index))
    if any(spread):
        low, high = ([m + sign * s for m, s in zip(means, spread, strict=True)] for sign in (-1, 1))
        axes.fill_between(sizes, low, high, alpha=0.18, linewidth=0, color=_colour(index)["color"])


def _colour(index: int) -> dict[str, Any]:
    """Lines past the last colour begin again, dashed."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": _DASHES[index // len(COLOURS) % len(_DASHES)],
    }


def _size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(sizes))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")


def panels_for(count: int, size: tuple[float, float] = _PANEL) -> tuple[Figure, list[Axes]]:
    """As many panels as there are things to show, at most four a line."""
    columns = min(count, 4 if count != 6 else 3)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * lines), layout="constrained")
    return figure, [figure.add_subplot(lines, columns, i + 1) for i in range(count)]


def _shared_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend below all panels, whichever of them a method is in."""
    entries = {}
    for panel in panels:
        panel.tick_params(labelsize=8)
        entries |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    columns = max(1, int(figure.get_figwidth() / (0.6 + 0.06 * max(map(len, entries)))))  # inches an entry, about
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
