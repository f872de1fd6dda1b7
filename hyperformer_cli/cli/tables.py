"""Results and plans as tables."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hyperformer_cli.tasks.metrics import unit

WIDE = 200  # columns in pipes and files, where no window cuts lines
_GAP = "  "  # between columns
_READABLE = 13  # columns that a text needs at least


def stdout_console() -> Console:
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDE)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], left: int = 1) -> RenderableType:
    """A table whose first `left` columns are text and whose others are numbers; None is an empty cell.

    In a narrow window texts are folded and numbers never are. The first column, which one would copy, is folded only
    if the other texts would otherwise have hardly any room.
    """
    cells = [[_written(value) for value in row] for row in rows]
    widths = [max(map(len, (head, *(row[i] for row in cells)))) for i, head in enumerate(columns)]
    texts = [min(width, _READABLE) for width in widths[1:left]]
    needed = widths[0] + sum(texts) + sum(widths[left:]) + len(_GAP) * (len(columns) - 1)
    keeps_first = needed <= stdout_console().width
    made = Table(header_style="", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        no_wrap = i >= left or (i == 0 and keeps_first)
        made.add_column(column, justify="left" if i < left else "right", no_wrap=no_wrap, overflow="fold")
    for row in cells:
        made.add_row(*map(Text, row))
    return Group(Text(title, style="bold"), made) if title else made  # a Table's own title wraps at its width


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else value or ""


def scores_table(
    title: str, results: Sequence[Mapping[str, Any]], average: Mapping[str, float] | None = None
) -> RenderableType:
    """One row per task and metric, with the score of always answering the most frequent label."""
    rows = [[r[key] for key in ("task", "metric", "value", "majority", "examples")] for r in results]
    for row in rows:
        row[1] += "" if unit(row[1]) else " (not %)"
    for name in ("metrics", "tasks"):
        if average and name in average:
            rows.append(["average", f"mean of {name}", average[name], None, None])
    return table(title, ("task", "metric", "%", "majority", "examples"), rows, left=2)


def print_results(results: Mapping[str, Any]) -> None:
    """The figures of results.json on stdout, one table per split."""
    console = stdout_console()
    for number, split in enumerate(dict.fromkeys(score["split"] for score in results["results"])):
        if number:
            console.print()
        scores = [score for score in results["results"] if score["split"] == split]
        console.print(scores_table(f"{results['name']}: {split}", scores, results["average"].get(split)))


def sweep_table(summary: Mapping[str, Any]) -> RenderableType:
    """One row per cell with its averages; the cells of the selected setting are marked."""
    selected = summary["selected"] or ()
    splits = list(dict.fromkeys(split for cell in summary["cells"] for split in cell["average"] or ()))
    rows = [
        [
            cell["cell"],
            "selected" if cell["cell"] in selected else "" if cell["done"] else "missing",
            *(cell["average"][split]["metrics"] if cell["done"] else None for split in splits),
        ]
        for cell in summary["cells"]
    ]
    return table(f"{summary['name']}: mean of metrics", ("cell", "", *splits), rows, left=2)


def fewshot_table(summary: Mapping[str, Any]) -> RenderableType:
    """One row per target, number of examples and metric, over seeds."""
    keys = ("task", "init_from", "metric", "shots", "mean", "std", "n", "majority")
    rows = [[row[key] for key in keys] for row in summary["results"]]
    title = f"{summary['name']} ({summary['method']}), few-shot: {summary['split']}, trained: {summary['train']}"
    return table(title, ("task", "from", "metric", "examples", "mean", "std", "seeds", "majority"), rows, left=3)
