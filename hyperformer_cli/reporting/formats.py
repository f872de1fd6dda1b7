"""A table as text for a terminal, Markdown, LaTeX, CSV or JSON."""

import csv
import io
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from hyperformer_cli.reporting.table import Cell, Column, Row, Table
from hyperformer_cli.tasks.metrics import METRICS

FORMATS = ("text", "markdown", "latex", "csv", "json")
_HEADING_WIDTH = 24  # where a long method's name breaks
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"$<$", ">": r"$>$", "±": r"$\pm$",
}  # fmt: skip


def text(table: Table, width: int) -> list[Any]:
    """Rich renderables: title, the table, its notes. What is wider than `width` columns is cut between columns."""
    from rich.text import Text

    shown = table.transposed() if table.lay_down else table
    parts: list[Any] = [Text(table.title, style="bold")]
    for number, block in enumerate(_blocks(shown, width)):
        parts += [Text(""), block] if number else [block]
    return parts + [Text(note) for note in _notes(table)]


def markdown(tables: Sequence[Table]) -> str:
    """GitHub's tables, a heading each; below a row what the paper prints and the difference."""
    return "\n\n".join(_markdown(table) for table in tables) + "\n"


def latex(tables: Sequence[Table]) -> str:
    """Floats to paste into a document that loads booktabs."""
    return "% \\usepackage{booktabs}\n" + "\n".join(_latex(table) for table in tables)


def as_csv(tables: Sequence[Table]) -> str:
    """All figures, one a line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "row", "column", "mean", "std", "n", "printed", "difference"])
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell is not None:
                    names = (table.kind, "/".join(row.names), "/".join(column.names))
                    writer.writerow([*names, *("" if value is None else value for value in _figures(cell).values())])
    return out.getvalue()


def as_json(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Plain values; cells by the names of their columns."""
    return [
        {
            "table": table.kind,
            "title": table.title,
            "rows": [
                {
                    "row": "/".join(row.names),
                    "runs": list(row.folders),
                    "cells": {
                        "/".join(column.names): _figures(cell)
                        for column, cell in zip(table.columns, row.cells, strict=True)
                        if cell is not None
                    },
                }
                for row in table.rows
            ],
            "notes": list(table.notes),
        }
        for table in tables
    ]


def cell_text(cell: Cell | None, form: str) -> str:
    """`88.24 ± 0.31 (3)`: mean, sample standard deviation, number of seeds; of one seed the value alone."""
    if cell is None:
        return ""
    if cell.std is None:
        return form.format(cell.mean)
    return f"{form.format(cell.mean)} ± {form.format(cell.std)} ({cell.n})"


def _printed_text(cell: Cell | None, form: str) -> str:
    if cell is None or cell.printed is None:
        return ""
    return cell.printed if isinstance(cell.printed, str) else form.format(cell.printed)


def _difference_text(cell: Cell | None) -> str:
    # Adding zero to what is rounded turns -0.00 into +0.00.
    return "" if cell is None or cell.difference is None else f"{round(cell.difference, 2) + 0.0:+.2f}"


def _figures(cell: Cell) -> dict[str, float | str | None]:
    """Rounded to more digits than results.json holds."""
    figures = {"mean": cell.mean, "std": cell.std, "n": cell.n, "printed": cell.printed, "difference": cell.difference}
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in figures.items()}


def _notes(table: Table) -> list[str]:
    spread = ["mean ± sample standard deviation (number of seeds)"] if table.has_spread else []
    return spread + list(table.notes)


def _blocks(table: Table, width: int) -> Iterator[Any]:
    """Rich tables of as many columns as go side by side."""
    from rich.console import Console
    from rich.measure import Measurement

    unbounded = Console(width=10_000)
    start = 0
    while start < len(table.columns):
        block, stop = None, start
        while stop < len(table.columns):
            wider = _rich_table(table, range(start, stop + 1))
            if block is not None and Measurement.get(unbounded, unbounded.options, wider).maximum > width:
                break
            block, stop = wider, stop + 1
        yield block
        start = stop


def _rich_table(table: Table, columns: range) -> Any:
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(header_style="", box=None, pad_edge=False)
    for head in table.heads:
        made.add_column(head, no_wrap=True)
    cells: list[list[str]] = [list(row.names) for row in table.rows]
    for i in columns:
        column, own = table.columns[i], [row.cells[i] for row in table.rows]
        texts = {_heading(column): [cell_text(cell, column.form) for cell in own]}
        texts |= {"printed": [_printed_text(cell, column.form) for cell in own]}
        texts |= {"diff.": [_difference_text(cell) for cell in own]}
        for heading, lines in texts.items():
            if any(lines) or heading not in ("printed", "diff."):
                made.add_column(Text(_broken(heading)), justify="right", no_wrap=True)
                for row, line in zip(cells, lines, strict=True):
                    row.append(line)
    for row in cells:
        made.add_row(*(Text(cell) for cell in row))
    return made


def _heading(column: Column) -> str:
    """A column's name on one line: `mrpc F1`; an average's own name says enough."""
    names = column.names[1:] if column.names[0] == "average" else column.names
    return " ".join(METRICS[name].short_name if name in METRICS else name for name in names)


def _broken(heading: str) -> str:
    """A heading on several lines: what sets a method apart begins one."""
    parts = heading.replace(" (", "\n(").split("\n")
    return "\n".join(
        textwrap.fill(part, _HEADING_WIDTH, break_long_words=False, break_on_hyphens=False) for part in parts
    )


def _lines(table: Table, row: Row) -> Iterator[tuple[list[str], list[str]]]:
    """A row's names and texts, then the printed figures and the differences as rows of their own."""
    together = list(zip(table.columns, row.cells, strict=True))
    indent = [""] * (len(row.names) - 1)
    yield list(row.names), [cell_text(cell, column.form) for column, cell in together]
    printed = [_printed_text(cell, column.form) for column, cell in together]
    if any(printed):
        yield [*indent, "printed"], printed
    differences = [_difference_text(cell) for _, cell in together]
    if any(differences):
        yield [*indent, "difference"], differences


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    lines = [line([*table.heads, *(_heading(column) for column in table.columns)])]
    lines.append(line(["---"] * len(table.heads) + ["---:"] * len(table.columns)))
    lines += [line([*names, *texts]) for row in table.rows for names, texts in _lines(table, row)]
    return "\n\n".join([f"### {table.title}", "\n".join(lines), *_notes(table)])


def _latex(table: Table) -> str:
    def line(names: Sequence[str], texts: Sequence[str]) -> str:
        return " & ".join([*map(_escaped, names), *map(_signed, texts)]) + r" \\"

    body = [line(names, texts) for row in table.rows for names, texts in _lines(table, row)]
    head = " & ".join(map(_escaped, [*table.heads, *(_heading(column) for column in table.columns)])) + r" \\"
    lines = [
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{_escaped('. '.join([table.title, *_notes(table)]))}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.heads)}{'r' * len(table.columns)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _escaped(words: str) -> str:
    return "".join(_LATEX.get(character, character) for character in words)


def _signed(number: str) -> str:
    """A number, its sign in mathematics, where a minus is not a hyphen."""
    sign = f"${number[0]}$" if number[:1] in ("-", "+") else ""
    return sign + _escaped(number[1:] if sign else number)
