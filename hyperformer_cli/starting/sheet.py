"""A file of rows as somebody saved it: CSV in any usual dialect, TSV, JSON, parquet. Bad lines are named, not fatal."""

import codecs
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from hyperformer_cli.errors import InputError

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet")
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_LOOKED_AT, _BEGINNING = 50, 1 << 20  # records, and characters, from which the delimiter is found


@dataclass(frozen=True)
class SheetRow:
    """One row; `line` is that on which it begins, from 1, or in parquet its number."""

    line: int
    values: dict[str, str]


@dataclass(frozen=True)
class LeftOut:
    """A row that is not used, and why."""

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True)
class Sheet:
    """The rows of a file, all cells as text.

    Attributes:
        columns: without those that hold lists or mappings.
        faults: lines from which no row could be read.
        dialect: how it was read, for people.
    """

    path: Path
    columns: list[str]
    rows: list[SheetRow]
    faults: list[LeftOut]
    dialect: str


def read_sheet(path: Path) -> Sheet:
    """Reads a file by its suffix.

    Raises:
        InputError: no such file, another kind of file, no header, no rows.
    """
    suffix = path.suffix.lower()
    if suffix in (".xlsx", ".xls", ".ods"):
        raise InputError(f"{path}: save the spreadsheet as CSV first")
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: ends in none of {', '.join(SUFFIXES)}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if suffix == ".parquet":
        sheet = _parquet(path)
    else:
        text, encoding = _decoded(path, content)
        sheet = _json(path, text) if suffix in (".json", ".jsonl") else _separated(path, text, encoding)
    if not sheet.rows:
        raise InputError(f"{path}: has no rows" + (f" ({sheet.faults[0]})" if sheet.faults else ""))
    return sheet


def _decoded(path: Path, content: bytes) -> tuple[str, str]:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding, name = "utf-16", "UTF-16"
    else:
        encoding, name = "utf-8-sig", "UTF-8"
    try:
        return content.decode(encoding), name
    except UnicodeDecodeError:
        if b"\0" in content:
            raise InputError(f"{path}: not a text file") from None
        return content.decode("cp1252", errors="replace"), "not UTF-8, read as Windows-1252"


def _separated(path: Path, text: str, encoding: str) -> Sheet:
    is_tsv = path.suffix.lower() == ".tsv"  # as GLUE's own, which know no quotes
    delimiter = "\t" if is_tsv else _delimiter_of(text)
    records = _records(text, delimiter, quoted=not is_tsv)
    first = next(records, None)
    if first is None or isinstance(first[1], str):
        raise InputError(f"{path}: has no header line with the names of the columns")
    columns = _distinct([name.strip() or f"column_{i}" for i, name in enumerate(first[1], 1)], path)
    rows, faults = [], []
    for line, cells in records:
        if isinstance(cells, str):
            faults.append(LeftOut(path, line, cells))
        elif len(cells) != len(columns):
            faults.append(LeftOut(path, line, f"has {len(cells)} cells where the header has {len(columns)}"))
        else:
            rows.append(SheetRow(line, dict(zip(columns, cells, strict=True))))
    return Sheet(path, columns, rows, faults, f"{_DELIMITERS[delimiter]}, {encoding}")


def _delimiter_of(text: str) -> str:
    """The delimiter with which most of the first records have as many cells as the header, and that more than one."""

    def fitting(delimiter: str) -> tuple[int, int]:
        counts = []
        for _, cells in _records(text[:_BEGINNING], delimiter, quoted=True):
            counts.append(len(cells) if not isinstance(cells, str) else 0)
            if len(counts) == _LOOKED_AT:
                break
        width = counts[0] if counts else 0
        return (counts.count(width), width) if width > 1 else (0, 0)

    return max(_DELIMITERS, key=fitting)


def _records(text: str, delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str] | str]]:
    """The line of every record that is not blank, and its cells, or what is wrong with it."""
    lines = io.StringIO(text, newline="")
    quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"not valid CSV ({error})"
            continue
        if any(cells):
            yield line, cells


def _json(path: Path, text: str) -> Sheet:
    faults: list[LeftOut] = []
    found: list[tuple[int, Any]] = []
    if text.lstrip().startswith("["):
        try:
            found = list(enumerate(json.loads(text), 1))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not valid JSON ({error})") from error
    else:
        for line, content in enumerate(text.splitlines(), 1):
            if content.strip():
                try:
                    found.append((line, json.loads(content)))
                except (ValueError, RecursionError) as error:
                    faults.append(LeftOut(path, line, f"not valid JSON ({error})"))
    for line, value in found:
        if not isinstance(value, dict):
            faults.append(LeftOut(path, line, "not a JSON object"))
    records = [(line, value) for line, value in found if isinstance(value, dict)]
    return _of_values(path, records, faults, "JSON")


def _parquet(path: Path) -> Sheet:
    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    _distinct(table.column_names, path)
    return _of_values(path, list(enumerate(table.to_pylist(), 1)), [], "parquet")


def _of_values(path: Path, records: Sequence[tuple[int, dict[str, Any]]], faults: list[LeftOut], kind: str) -> Sheet:
    """Rows of named values; columns with lists or mappings, which no cell can hold, are dropped."""
    names = dict.fromkeys(name for _, record in records for name in record)
    nested = {name for _, record in records for name, value in record.items() if isinstance(value, list | dict)}
    columns = [name for name in names if name not in nested]
    rows = [SheetRow(line, {name: _as_text(record.get(name)) for name in columns}) for line, record in records]
    dropped = f", without {', '.join(sorted(nested))} (lists or mappings)" if nested else ""
    return Sheet(path, columns, rows, faults, kind + dropped)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _distinct(columns: list[str], path: Path) -> list[str]:
    duplicates = [name for i, name in enumerate(columns) if name in columns[:i]]
    if duplicates:
        raise InputError(f"{path}: duplicate column '{duplicates[0]}'")
    return columns
