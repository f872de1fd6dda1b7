"""Task embeddings on the plane of PCA, as in the paper's embedding figure, with labels that do not overlap."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from hyperformer_cli.reporting.embeddings import TaskEmbeddings, principal_components
from hyperformer_cli.reporting.figures import COLOURS, SMALL, panels_for

_GAP = 5  # points between a point and its label
# Where a label may be placed, the best first: the side and height, in its own widths and lines.
_PLACES = ((0, 0), (0, 1), (0, -1), (-1, 0), (-1, 1), (-1, -1), (-0.5, 1.2), (-0.5, -1.2), (0, 2), (0, -2), (-1, 2))


def draw_embeddings(found: Sequence[TaskEmbeddings]) -> Figure | None:
    """One panel per run; few-shot targets as open triangles. None where no run has two tasks."""
    found = [own for own in found if len(own.tasks) > 1]
    if not found:
        return None
    figure, panels = panels_for(len(found), (4.4, 3.8))
    all_coordinates = []
    for panel, own in zip(panels, found, strict=True):
        coordinates, shares = principal_components(own.vectors)
        all_coordinates.append(coordinates)
        first_target = len(own.tasks) - own.targets
        x, y = coordinates.T
        panel.scatter(x[:first_target], y[:first_target], s=34, color=COLOURS[0], label="trained together")
        if own.targets:
            look: dict[str, Any] = {"marker": "^", "facecolors": "none", "edgecolors": COLOURS[1], "linewidths": 1.4}
            panel.scatter(x[first_target:], y[first_target:], s=40, label="few-shot target", **look)
            panel.legend(frameon=False, fontsize=SMALL)
        panel.set_title(textwrap.fill(own.name, 45), fontsize=10)
        panel.set_xlabel(f"first component ({shares[0]:.0%} of the variance)", fontsize=SMALL)
        panel.set_ylabel(f"second component ({shares[1]:.0%})", fontsize=SMALL)
        panel.tick_params(labelsize=SMALL)
        panel.margins(0.25, 0.15)
    figure.draw_without_rendering()  # only then is it known where points lie on the page
    for panel, own, coordinates in zip(panels, found, all_coordinates, strict=True):
        _label(panel, own.tasks, coordinates)
    return figure


def _label(panel: Axes, tasks: Sequence[str], coordinates: np.ndarray) -> None:
    """Puts each label in the first place beside its point that covers no point, no other label and no edge."""
    per_dot = 72 / panel.figure.dpi  # points, which fonts are measured in
    page = panel.transData.transform(coordinates) * per_dot
    left_edge, right_edge = panel.bbox.x0 * per_dot, panel.bbox.x1 * per_dot
    taken = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in page]
    taken += [Bbox.from_bounds(x, -9999, 99, 2 * 9999) for x in (left_edge - 99, right_edge)]
    for task, (x, y), at in zip(tasks, page, coordinates, strict=True):
        width = 0.6 * SMALL * len(task)
        offsets = [(side * (width + _GAP) + _GAP * (side == 0), height * (SMALL + 1)) for side, height in _PLACES]
        boxes = {offset: Bbox.from_bounds(x + offset[0], y + offset[1] - SMALL / 2, width, SMALL) for offset in offsets}
        best = min(boxes, key=lambda offset: sum(_shared_area(boxes[offset], other) for other in taken))
        taken.append(boxes[best])
        panel.annotate(task, at, xytext=best, textcoords="offset points", fontsize=SMALL, va="center")


def _shared_area(first: Bbox, second: Bbox) -> float:
    shared = Bbox.intersection(first, second)
    return 0 if shared is None else shared.width * shared.height
