"""Rows of a stream, one at a time: JSON lines, CSV or TSV. A line that cannot be read does not end the stream."""

import codecs
import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from hyperformer_cli.errors import InputError, did_you_mean

InputFormat = Literal["jsonl", "csv", "tsv"]
FORMATS: tuple[InputFormat, ...] = get_args(InputFormat)
_NOT_UTF8 = "not UTF-8; save the file as UTF-8"
_BY_SUFFIX: dict[str, InputFormat] = {".jsonl": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv"}


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        line: the line on which it begins, from 1.
        number: its number among the rows, from 0. Rows that cannot be read count too; a header and blank lines do not.
        values: by column; in CSV and TSV all of them are text.
    """

    line: int
    number: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """Lines from which nothing can be predicted: one, or more if a quote is not closed. Each counts as a row."""

    line: int
    reason: str
    lines: int = 1

    @property
    def place(self) -> str:
        return f"line {self.line}" if self.lines == 1 else f"lines {self.line} to {self.line + self.lines - 1}"


# The first line, the number of lines, and what they hold: values by column, or the cells of a table.
_Record = tuple[int, int, Any]


class RowStream:
    """The rows of one stream, read as they are used.

    Attributes:
        origin: the stream's name in messages.
        columns: the header of CSV and TSV; None for JSON lines.
    """

    def __init__(self, stream: BinaryIO, origin: str, input_format: InputFormat):
        """Reads the header, if there is one.

        Raises:
            InputError: an unknown format; a header that is missing, damaged, or has a duplicate column.
        """
        if input_format not in FORMATS:
            raise InputError(f"input format '{input_format}': {did_you_mean(input_format, FORMATS)}")
        self.origin = origin
        lines = _without_byte_order_mark(stream)
        if input_format == "jsonl":
            self._records = _line_records(lines, json.loads, blank=None)
        elif input_format == "tsv":  # GLUE's own TSV files know no quotes, and neither does training
            self._records = _line_records(lines, lambda text: text.split("\t"), blank=b"\r\n")
        else:
            self._records = _csv_records(lines)
        self.columns: list[str] | None = None if input_format == "jsonl" else self._header()

    def __iter__(self) -> Iterator[Row | Fault]:
        number = 0
        for record in self._records:
            row = record if isinstance(record, Fault) else self._row(number, *record)
            yield row
            number += 1 if isinstance(row, Row) else row.lines

    def _header(self) -> list[str]:
        first = next(self._records, None)
        if first is None:
            raise InputError(f"{self.origin}: is empty")
        if isinstance(first, Fault):
            raise InputError(f"{self.origin}: {first.place}: {first.reason}")
        columns = first[-1]
        if duplicates := [column for column in columns if columns.count(column) > 1]:
            raise InputError(f"{self.origin}: duplicate column '{duplicates[0]}'")
        return columns

    def _row(self, number: int, line: int, lines: int, content: Any) -> Row | Fault:
        if self.columns is None:
            return Row(line, number, content) if isinstance(content, dict) else Fault(line, "not a JSON object")
        if len(content) != len(self.columns):
            return Fault(line, f"has {len(content)} cells where the header has {len(self.columns)}", lines)
        return Row(line, number, dict(zip(self.columns, content, strict=True)))


def format_of(name: str) -> InputFormat:
    """The format that a file's name ends in; an InputError if it ends in none."""
    suffix = Path(name).suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise InputError(f"{name}: ends in none of {', '.join(_BY_SUFFIX)}; name its format with --input-format")
    return _BY_SUFFIX[suffix]


def _without_byte_order_mark(stream: BinaryIO) -> Iterator[bytes]:
    for number, line in enumerate(stream):
        yield line if number else line.removeprefix(codecs.BOM_UTF8)


def _line_records(
    lines: Iterator[bytes], parse: Callable[[str], Any], blank: bytes | None
) -> Iterator[_Record | Fault]:
    """Records of one line each, without lines that hold nothing but `blank`; None stands for all white space."""
    for line, content in enumerate(lines, 1):
        if not content.strip(blank):
            continue
        try:
            yield line, 1, parse(content.rstrip(b"\r\n").decode())
        except UnicodeDecodeError:
            yield Fault(line, _NOT_UTF8)
        except json.JSONDecodeError as error:
            yield Fault(line, f"not valid JSON ({error.msg}, column {error.colno})")
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
            yield Fault(line, f"not readable JSON ({error})")


def _csv_records(lines: Iterator[bytes]) -> Iterator[_Record | Fault]:
    """A quoted cell may hold line ends. One whose quote is never closed ends at the csv module's limit for a cell."""
    header = next(lines, b"")
    decoded = (line.decode(errors="surrogateescape") for line in chain([header], lines))
    reader = csv.reader(decoded, delimiter=_delimiter_of(header.decode(errors="replace")), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Fault(line, f"not valid CSV ({error})", max(1, reader.line_num - line + 1))
            continue
        read = reader.line_num - line + 1
        if cells:
            yield (line, read, cells) if is_text(*cells) else Fault(line, _NOT_UTF8, read)


def _delimiter_of(header: str) -> str:
    """A comma, or what else spreadsheets write where the header has no comma."""
    return next((delimiter for delimiter in ",;\t|" if delimiter in header), ",")


def is_text(*values: str) -> bool:
    """Whether all values can be written as UTF-8, which a lone surrogate (half a character) cannot."""
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        return False
    return True
