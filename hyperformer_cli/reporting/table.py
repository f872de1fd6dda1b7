"""A table before it has a format: named rows and columns of means, standard deviations and printed figures."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cell:
    """A figure over seeds.

    Args:
        mean: over the seeds.
        std: sample standard deviation (n - 1 in the denominator); None for one seed.
        n: number of seeds.
        printed: what the paper prints there: a number to compare with, or text such as `1+8x0.01`.
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
    """A column: its name in parts (a task and a metric), and how its numbers are written."""

    names: tuple[str, ...]
    form: str = "{:.2f}"


@dataclass(frozen=True)
class Row:
    """A row: its name in parts, a cell (or None) a column, and the folders its figures come from."""

    names: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        kind: `glue`, `few-shot`, `low-resource`, `ablation` or `parameters`.
        title: what a reader sees above it.
        heads: what the parts of a row's name are.
        column_heads: what the parts of a column's name are.
        columns: of numbers.
        rows: with as many cells as there are columns.
        notes: sentences below it.
        lay_down: whether text puts the columns below each other, because they are many.
    """

    kind: str
    title: str
    heads: tuple[str, ...]
    column_heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    lay_down: bool = False

    def transposed(self) -> "Table":
        """Rows as columns. All columns must be written alike."""
        columns = tuple(Column(row.names, self.columns[0].form) for row in self.rows)
        rows = tuple(
            Row(column.names, tuple(row.cells[i] for row in self.rows)) for i, column in enumerate(self.columns)
        )
        return replace(self, heads=self.column_heads, column_heads=self.heads, columns=columns, rows=rows)

    @property
    def has_spread(self) -> bool:
        """Whether a figure is of several seeds."""
        return any(cell is not None and cell.n > 1 for row in self.rows for cell in row.cells)


def over_seeds(values: Sequence[float], printed: float | None = None) -> Cell:
    """Mean and sample standard deviation of one value a seed."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return Cell(statistics.fmean(values), std, len(values), printed)
