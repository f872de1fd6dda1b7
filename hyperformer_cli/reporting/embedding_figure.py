"""Task embeddings on the plane of PCA, as in the paper's embedding figure, with labels that keep apart."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperformer_cli.reporting.embeddings import TaskEmbeddings, principal_components
from hyperformer_cli.reporting.figures import COLOURS, panels_for

_FONT = 8  # points
_GAP = 5  # points between a point and its label
# Where a label may stand, the best first: the side and height, in its own widths and lines.
_PLACES = ((0, 0), (0, 1), (0, -1), (-1, 0), (-1, 1), (-1, -1), (-0.5, 1.2), (-0.5, -1.2), (0, 2), (0, -2), (-1, 2))


def draw_embeddings(found: Sequence[TaskEmbeddings]) -> Figure | None:
    """A panel a run; few-shot targets as open triangles. None where no run has two tasks."""
    found = [own for own in found if len(own.tasks) > 1]
    if not found:
        return None
    figure, panels = panels_for(len(found), (4.4, 3.8))
    drawn = []
    for panel, own in zip(panels, found, strict=True):
        coordinates, shares = principal_components(own.vectors)
        first_target = len(own.tasks) - own.targets
        panel.scatter(*coordinates[:first_target].T, s=34, color=COLOURS[0], label="trained together")
        if own.targets:
            look = {"marker": "^", "facecolors": "none", "edgecolors": COLOURS[1], "linewidths": 1.4}
            panel.scatter(*coordinates[first_target:].T, s=40, label="few-shot target", **look)
            panel.legend(frameon=False, fontsize=_FONT)
        panel.set_title(textwrap.fill(own.name, 45), fontsize=10)
        panel.set_xlabel(f"first component ({shares[0]:.0%} of the variance)", fontsize=_FONT)
        panel.set_ylabel(f"second component ({shares[1]:.0%})", fontsize=_FONT)
        panel.tick_params(labelsize=_FONT)
        panel.margins(0.25, 0.15)
        drawn.append((panel, own.tasks, coordinates))
    figure.draw_without_rendering()  # only then is it known where points lie on the page
    for panel, tasks, coordinates in drawn:
        _label(panel, tasks, coordinates)
    return figure


def _label(panel: Axes, tasks: Sequence[str], coordinates: np.ndarray) -> None:
    """Puts each label in the first place beside its point that covers no point, no other label and no edge."""
    page = panel.transData.transform(coordinates) * 72 / panel.figure.dpi  # in points
    left_edge, right_edge = (x * 72 / panel.figure.dpi for x in (panel.bbox.x0, panel.bbox.x1))
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in page]
    taken += [(left_edge - 99, -9999, left_edge, 9999), (right_edge, -9999, right_edge + 99, 9999)]
    for task, (x, y), at in zip(tasks, page, coordinates, strict=True):
        width = 0.6 * _FONT * len(task)
        boxes = []
        for side, height in _PLACES:
            left = x + side * (width + _GAP) + (_GAP if side == 0 else 0)
            low = y + height * (_FONT + 1) - _FONT / 2
            boxes.append((left, low, left + width, low + _FONT))
        best = min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(best)
        offset = (best[0] - x, best[1] + _FONT / 2 - y)
        panel.annotate(task, at, xytext=offset, textcoords="offset points", fontsize=_FONT, va="center")


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """The area two boxes (left, low, right, high) share."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)
