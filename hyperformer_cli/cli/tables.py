"""Results and plans as tables."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

WIDE = 200  # columns where nobody's window cuts lines: pipes and files
_GAP = "  "  # between columns
_ENOUGH = 13  # columns in which a text can be read


def stdout_console() -> Console:
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDE)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], left: int = 1) -> RenderableType:
    """A table whose first `left` columns are text and whose others are numbers.

    In a narrow window texts are folded, numbers never; the first column, which is what one would type, only where
    that would leave the other texts hardly any room.
    """
    widths = [max(map(len, (head, *(str(row[i]) for row in rows)))) for i, head in enumerate(columns)]
    others = sum(widths[left:]) + len(_GAP) * (len(columns) - 1) + sum(min(width, _ENOUGH) for width in widths[1:left])
    fits = widths[0] + others <= stdout_console().width
    made = Table(header_style="", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        no_wrap = i >= left or (i == 0 and fits)
        made.add_column(column, justify="left" if i < left else "right", no_wrap=no_wrap, overflow="fold")
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return Group(Text(title, style="bold"), made) if title else made  # a Table's own title wraps at its width


def scores_table(
    title: str, results: Sequence[Mapping[str, Any]], average: Mapping[str, float] | None = None
) -> RenderableType:
    """One row a task and metric, with what always answering the most frequent label would score."""
    rows = [(r["task"], r["metric"], f"{r['value']:.2f}", f"{r['majority']:.2f}", r["examples"]) for r in results]
    for name, label in (("metrics", "mean of metrics"), ("tasks", "mean of tasks")):
        if average and name in average:
            rows.append(("average", label, f"{average[name]:.2f}", "", ""))
    return table(title, ("task", "metric", "%", "majority", "examples"), rows, left=2)


def print_results(results: Mapping[str, Any]) -> None:
    """The figures of results.json on stdout, a table a split."""
    by_split: dict[str, list[Mapping[str, Any]]] = {}
    for result in results["results"]:
        by_split.setdefault(result["split"], []).append(result)
    console = stdout_console()
    for number, (split, scores) in enumerate(by_split.items()):
        if number:
            console.print()
        console.print(scores_table(f"{results['name']}: {split}", scores, results["average"].get(split)))


def sweep_table(summary: Mapping[str, Any]) -> RenderableType:
    """One row a cell with its averages; those of the selected setting are marked."""
    splits = list(dict.fromkeys(split for cell in summary["cells"] for split in cell["average"] or ()))
    rows = [
        [
            cell["cell"],
            "selected" if cell["cell"] in (summary["selected"] or ()) else "" if cell["done"] else "missing",
            *(f"{cell['average'][split]['metrics']:.2f}" if cell["done"] else "" for split in splits),
        ]
        for cell in summary["cells"]
    ]
    return table(f"{summary['name']}: mean of metrics", ("cell", "", *splits), rows, left=2)


def fewshot_table(summary: Mapping[str, Any]) -> RenderableType:
    """One row a target, size and metric, over seeds."""
    rows = [
        (
            row["task"], row["init_from"] or "", row["shots"], row["metric"], f"{row['mean']:.2f}",
            "" if row["std"] is None else f"{row['std']:.2f}", row["n"], f"{row['majority']:.2f}",
        )
        for row in summary["results"]
    ]  # fmt: skip
    title = f"{summary['name']} ({summary['method']}), few-shot: {summary['split']}, trained: {summary['train']}"
    return table(title, ("task", "from", "examples", "metric", "mean", "std", "seeds", "majority"), rows, left=2)
