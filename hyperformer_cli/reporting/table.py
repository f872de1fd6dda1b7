"""A table before it has a format: named rows and columns of means, standard deviations and printed figures."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TableCell:
    """A figure over seeds: mean, sample standard deviation (n - 1 in the denominator; None for one seed), and n seeds.

    `printed` is what the paper prints there: a number to compare with, or text such as `1+8x0.01`.
    """

    mean: float
    std: float | None = None
    n: int = 1
    printed: float | str | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, where that is a number."""
        return self.mean - self.printed if isinstance(self.printed, int | float) else None


@dataclass(frozen=True)
class Column:
    """A column: the parts of its name (such as task and metric), and how its numbers are written."""

    names: tuple[str, ...]
    number_format: str = "{:.2f}"


@dataclass(frozen=True)
class Row:
    """A row: the parts of its name, a cell (or None) per column, and the folders its figures come from."""

    names: tuple[str, ...]
    cells: tuple[TableCell | None, ...]
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table. `row_heads` and `column_heads` say what the parts of the rows' and columns' names are."""

    kind: str  # glue, comparison, few-shot, low-resource, ablation, labels or parameters
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    row_heads: tuple[str, ...] = ("method",)
    column_heads: tuple[str, ...] = ("",)
    notes: tuple[str, ...] = ()  # sentences below it
    figures: str = ""  # what the numbers are, for the axis of a chart
    transpose_text: bool = False  # text shows columns as rows, because there are many columns

    def transposed(self) -> "Table":
        """Rows as columns. All columns must have the same number format."""
        columns = tuple(Column(row.names, self.columns[0].number_format) for row in self.rows)
        cells = zip(*(row.cells for row in self.rows), strict=True)
        rows = tuple(Row(column.names, own) for column, own in zip(self.columns, cells, strict=True))
        return replace(self, row_heads=self.column_heads, column_heads=self.row_heads, columns=columns, rows=rows)


def over_seeds(values: Sequence[float], printed: float | None = None) -> TableCell:
    """Mean and sample standard deviation of one value per seed."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return TableCell(statistics.fmean(values), std, len(values), printed)
