"""A table as text for a terminal, Markdown, LaTeX, CSV or JSON."""

import csv
import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from hyperformer_cli.reporting.table import Column, Row, Table, TableCell
from hyperformer_cli.tasks.metrics import METRICS

_HEADING_WIDTH = 24  # where a long method's name breaks
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"$<$", ">": r"$>$", "±": r"$\pm$",
})  # fmt: skip


def to_text(table: Table, width: int) -> list[RenderableType]:
    """Title, table and notes for a console of `width` columns. A wider table is split between its columns."""
    shown = table.transposed() if table.transpose_text else table
    parts: list[RenderableType] = [Text(table.title, style="bold")]
    for number, block in enumerate(_blocks(shown, width) if table.rows else ()):
        parts += [Text(""), block] if number else [block]
    return parts + [Text(note) for note in _notes(table)]


def to_markdown(tables: Sequence[Table]) -> str:
    """GitHub's tables, each under a heading; below a row what the paper prints and the difference."""
    return "\n\n".join(_markdown(table) for table in tables) + "\n"


def to_latex(tables: Sequence[Table]) -> str:
    """Floats to paste into a document that loads booktabs."""
    return "% \\usepackage{booktabs}\n" + "\n".join(_latex(table) for table in tables)


def to_csv(tables: Sequence[Table]) -> str:
    """All figures, one per line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "row", "column", "mean", "std", "n", "printed", "difference"])
    for table in tables:
        for row in table.rows:
            for column, figures in _figures(table, row).items():
                writer.writerow([table.kind, "/".join(row.names), column, *figures.values()])
    return out.getvalue()


def to_json(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Plain values; cells by the names of their columns."""
    return [
        {
            "table": table.kind,
            "title": table.title,
            "rows": [
                {"row": "/".join(row.names), "runs": list(row.folders), "cells": _figures(table, row)}
                for row in table.rows
            ],
            "notes": list(table.notes),
        }
        for table in tables
    ]


def _figures(table: Table, row: Row) -> dict[str, dict[str, float | str | None]]:
    """A row's figures by the names of their columns, rounded to more digits than results.json holds."""
    figures = {}
    for column, cell in zip(table.columns, row.cells, strict=True):
        if cell is not None:
            named = asdict(cell) | {"difference": cell.difference}
            figures["/".join(column.names)] = {k: round(v, 6) if isinstance(v, float) else v for k, v in named.items()}
    return figures


def _cell_texts(cell: TableCell | None, column: Column) -> tuple[str, str, str]:
    """The figure, the paper's and the difference, such as `88.24 ± 0.31 (3)`, `89.66`, `-1.42`; empty where missing.

    The figure is mean, sample standard deviation and number of seeds, or the value alone for one seed.
    """
    if cell is None:
        return "", "", ""
    write = column.number_format.format
    figure = write(cell.mean) if cell.std is None else f"{write(cell.mean)} ± {write(cell.std).lstrip('+')} ({cell.n})"
    if cell.difference is None:
        return figure, str(cell.printed or ""), ""
    # Adding zero to the rounded number turns -0.00 into +0.00.
    return figure, write(cell.printed), f"{round(cell.difference, 2) + 0.0:+.2f}"


def _notes(table: Table) -> list[str]:
    has_spread = any(cell is not None and cell.n > 1 for row in table.rows for cell in row.cells)
    return ["mean ± sample standard deviation (number of seeds)"] * has_spread + list(table.notes)


def _blocks(table: Table, width: int) -> Iterator[RichTable]:
    """Rich tables of as many columns each as fit side by side."""
    unbounded = Console(width=10_000)
    start = 0
    while start < len(table.columns):
        stop = start + 1
        block = _rich_table(table, range(start, stop))
        while stop < len(table.columns):
            wider = _rich_table(table, range(start, stop + 1))
            if unbounded.measure(wider).maximum > width:
                break
            block, stop = wider, stop + 1
        yield block
        start = stop


def _rich_table(table: Table, columns: range) -> RichTable:
    made = RichTable(header_style="", box=None, pad_edge=False)
    texts: list[Sequence[str]] = []
    for number, head in enumerate(table.row_heads):
        made.add_column(head, overflow="fold")  # a long name gives way, a number never
        texts.append([row.names[number] for row in table.rows])
    for i in columns:
        column = table.columns[i]
        figures, printed, differences = zip(*(_cell_texts(row.cells[i], column) for row in table.rows), strict=True)
        for heading, own in ((None, figures), ("printed", printed), ("diff.", differences)):
            if heading is None or any(own):
                made.add_column(Text(heading or _broken(_heading(column))), justify="right", no_wrap=True)
                texts.append(own)
    for line in zip(*texts, strict=True):
        made.add_row(*map(Text, line))
    return made


def _heading(column: Column) -> str:
    """A column's name on one line: `mrpc F1`; an average's own name says enough."""
    names = column.names[1:] if column.names[0] == "average" else column.names
    return " ".join(METRICS[name].short_name if name in METRICS else name for name in names)


def _broken(heading: str) -> str:
    """A heading on several lines; what sets a method apart begins one."""
    parts = re.sub(r" \((?!%)", "\n(", heading).split("\n")
    return "\n".join(
        textwrap.fill(part, _HEADING_WIDTH, break_long_words=False, break_on_hyphens=False) for part in parts
    )


def _lines(table: Table, row: Row) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """A row's names and texts, then the printed figures and the differences as rows of their own."""
    indent = ("",) * (len(row.names) - 1)
    texts = zip(*map(_cell_texts, row.cells, table.columns), strict=True)
    for names, line in zip((row.names, (*indent, "printed"), (*indent, "difference")), texts, strict=True):
        if names is row.names or any(line):
            yield names, line


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    lines = [line([*table.row_heads, *map(_heading, table.columns)])]
    lines.append(line(["---"] * len(table.row_heads) + ["---:"] * len(table.columns)))
    lines += [line([*names, *texts]) for row in table.rows for names, texts in _lines(table, row)]
    return "\n\n".join([f"### {table.title}", "\n".join(lines), *_notes(table)])


def _latex(table: Table) -> str:
    def line(names: Sequence[str], texts: Sequence[str]) -> str:
        return " & ".join([*(name.translate(_LATEX) for name in names), *map(_signed, texts)]) + r" \\"

    lines = [
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{'. '.join([table.title, *_notes(table)]).translate(_LATEX)}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.row_heads)}{'r' * len(table.columns)}}}",
        r"\toprule",
        line([*table.row_heads, *map(_heading, table.columns)], []),
        r"\midrule",
        *(line(names, texts) for row in table.rows for names, texts in _lines(table, row)),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _signed(number: str) -> str:
    """A number for LaTeX, its sign in mathematics, where a minus is not a hyphen."""
    return re.sub(r"^[-+]", r"$\g<0>$", number.translate(_LATEX))
