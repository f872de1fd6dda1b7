"""Rows of a stream, one at a time: JSON lines, CSV or TSV. A line that cannot be read is a fault and not the end."""

import codecs
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, get_args

from hyperformer_cli.errors import InputError, did_you_mean

InputFormat = Literal["jsonl", "csv", "tsv"]
FORMATS: tuple[InputFormat, ...] = get_args(InputFormat)
_BY_SUFFIX: dict[str, InputFormat] = {".jsonl": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv"}


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        line: where it begins in the stream, from 1, as editors count.
        number: its number among the rows, from 0; a faulty row has one too, a header or a blank line has none.
        values: by column; all of them text in CSV and TSV.
    """

    line: int
    number: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """Lines from which nothing can be predicted, and why: one, but where a quote is not closed.

    Attributes:
        line: the first, from 1.
        reason: in words.
        lines: how many; each counts as a row.
    """

    line: int
    reason: str
    lines: int = 1

    @property
    def place(self) -> str:
        return f"line {self.line}" if self.lines == 1 else f"lines {self.line} to {self.line + self.lines - 1}"


Cells = tuple[int, int, list[str]]  # first line, number of lines, cells


class RowStream:
    """The rows of one stream, read as they are asked for.

    Attributes:
        origin: what messages call the stream.
        columns: the header of CSV and TSV; None for JSON lines.
    """

    def __init__(self, stream: BinaryIO, origin: str, input_format: InputFormat):
        """Reads the header, if there is one.

        Raises:
            InputError: an unknown format; a header that is missing, damaged, or has a column twice.
        """
        if input_format not in FORMATS:
            raise InputError(f"input format '{input_format}': {did_you_mean(input_format, FORMATS)}")
        self.origin = origin
        self.columns: list[str] | None = None
        lines = _without_byte_order_mark(stream)
        if input_format == "jsonl":
            self._rows = _json_rows(lines)
            return
        cells = _tsv_cells(lines) if input_format == "tsv" else _csv_cells(lines)
        self.columns = self._header(next(cells, None))
        self._rows = _table_rows(cells, self.columns)

    def __iter__(self) -> Iterator[Row | Fault]:
        return self._rows

    def _header(self, first: Cells | Fault | None) -> list[str]:
        if first is None:
            raise InputError(f"{self.origin}: is empty")
        if isinstance(first, Fault):
            raise InputError(f"{self.origin}: {first.place}: {first.reason}")
        columns = first[-1]
        twice = [column for column in columns if columns.count(column) > 1]
        if twice:
            raise InputError(f"{self.origin}: column '{twice[0]}' stands twice")
        return columns


def format_of(name: str) -> InputFormat:
    """The format that a file's name ends in.

    Raises:
        InputError: none of them.
    """
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if suffix not in _BY_SUFFIX:
        raise InputError(f"{name}: ends in none of {', '.join(_BY_SUFFIX)}; name its format with --input-format")
    return _BY_SUFFIX[suffix]


def _without_byte_order_mark(stream: BinaryIO) -> Iterator[bytes]:
    for number, line in enumerate(stream):
        yield line if number else line.removeprefix(codecs.BOM_UTF8)


def _json_rows(lines: Iterator[bytes]) -> Iterator[Row | Fault]:
    number = 0
    for line, content in enumerate(lines, 1):
        if content.isspace():
            continue
        try:
            values = json.loads(content.rstrip(b"\r\n").decode())
        except UnicodeDecodeError:
            yield Fault(line, "not UTF-8")
        except json.JSONDecodeError as error:
            yield Fault(line, f"not valid JSON ({error.msg}, column {error.colno})")
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
            yield Fault(line, f"not readable JSON ({error})")
        else:
            yield Row(line, number, values) if isinstance(values, dict) else Fault(line, "not a JSON object")
        number += 1


def _tsv_cells(lines: Iterator[bytes]) -> Iterator[Cells | Fault]:
    """GLUE's own TSV files know no quotes, and neither does training."""
    for line, content in enumerate(lines, 1):
        content = content.rstrip(b"\r\n")
        if not content:
            continue
        try:
            yield line, 1, content.decode().split("\t")
        except UnicodeDecodeError:
            yield Fault(line, "not UTF-8")


def _csv_cells(lines: Iterator[bytes]) -> Iterator[Cells | Fault]:
    """A quoted cell may hold line ends. One whose quote is never closed ends at the csv module's limit for a cell."""
    reader = csv.reader((line.decode(errors="surrogateescape") for line in lines), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Fault(line, f"not valid CSV ({error})", max(1, reader.line_num - line + 1))
            continue
        if not cells:
            continue
        read = reader.line_num - line + 1
        yield (line, read, cells) if is_text(*cells) else Fault(line, "not UTF-8", read)


def _table_rows(found: Iterator[Cells | Fault], columns: list[str]) -> Iterator[Row | Fault]:
    number = 0
    for row in found:
        if not isinstance(row, Fault):
            line, lines, cells = row
            if len(cells) == len(columns):
                yield Row(line, number, dict(zip(columns, cells, strict=True)))
                number += 1
                continue
            row = Fault(line, f"has {len(cells)} cells where the header has {len(columns)}", lines)
        yield row
        number += row.lines


def is_text(*values: str) -> bool:
    """Whether UTF-8 can write all values: a lone surrogate is half a character."""
    try:
        for value in values:
            value.encode()
    except UnicodeEncodeError:
        return False
    return True
