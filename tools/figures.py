"""Draws `docs/figures/method.svg`, the figure of the README.

python -m tools.figures
"""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[1]
TRAINED, GENERATED, FROZEN, EDGE = "#ffd9a0", "#cfe3ff", "#e6e6e6", "#333333"


def box(axes: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    """A box with a text in its middle; x and y are its lower left corner."""
    shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.02", facecolor=colour, edgecolor=EDGE)
    axes.add_patch(shape)
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color=EDGE, shrinkA=2, shrinkB=2))


def draw_method(axes: Axes) -> None:
    """Three learned vectors, one hypernetwork, the weights it generates, and where they act in the frozen backbone."""
    for row, vector in enumerate(["task vector", "layer vector", "position vector"]):
        box(axes, 0.1, 3.9 - 0.75 * row, 1.5, 0.5, vector, TRAINED)
        arrow(axes, (1.65, 4.15 - 0.75 * row), (2.35, 3.4))
    box(axes, 2.4, 2.95, 1.9, 0.9, "hypernetwork\nshared by all tasks,\nlayers, positions", TRAINED)
    arrow(axes, (4.35, 3.4), (4.95, 3.4))
    box(axes, 5.0, 2.95, 1.8, 0.9, "adapter weights\nof this task\nat this place", GENERATED)
    arrow(axes, (5.9, 2.9), (5.9, 1.55))
    box(axes, 0.4, 0.75, 1.9, 0.7, "self-attention or\nfeed-forward", FROZEN)
    arrow(axes, (2.35, 1.1), (4.75, 1.1))
    box(axes, 4.8, 0.75, 2.2, 0.7, "down, GeLU, up,\nlayer norm, + input", GENERATED)
    arrow(axes, (7.05, 1.1), (7.75, 1.1))
    axes.text(7.8, 1.1, "dropout,\nresidual", va="center", fontsize=8)
    axes.text(3.55, 1.2, "its output", ha="center", fontsize=7, color="#555555")
    for colour, text, x in ((TRAINED, "trained", 0.4), (GENERATED, "generated", 1.9), (FROZEN, "frozen", 3.6)):
        box(axes, x, 0.05, 0.25, 0.2, "", colour)
        axes.text(x + 0.35, 0.15, text, va="center", fontsize=8)


def main() -> None:
    """Writes the figure; the same bytes every time."""
    plt.rcParams["svg.hashsalt"] = "hyperformer"
    figure, axes = plt.subplots(figsize=(8.6, 4.6))
    axes.set(xlim=(0, 8.9), ylim=(0, 4.6))
    axes.axis("off")
    draw_method(axes)
    folder = ROOT / "docs" / "figures"
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / "method.svg", metadata={"Date": None}, bbox_inches="tight")


if __name__ == "__main__":
    main()
