"""JSON lines as a table, line by line and by the parser that prediction uses too.

Arrow's own reader ends the process on a line that says `null` or nests deeply, makes dates of texts that look like
them, and refuses a file for a column that nobody reads.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa

from hyperformer_cli.errors import InputError


def read_json_lines(path: Path, needed: Collection[str], text: Collection[str]) -> pa.Table:
    """A file with one JSON object per line; blank lines do not count.

    Args:
        path: the file, in UTF-8.
        needed: columns that must become part of the table; others do where their values are of one type.
        text: columns that hold text or null.

    Raises:
        InputError: a line that holds no JSON object or has a key twice, text that is not, or a needed column of mixed
            types; naming the line, from 1. A file without rows.
    """
    rows, lines = [], []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if line.strip():
                rows.append(_row(line, f"{path}: line {number}", text))
                lines.append(number)
    if not rows:
        raise InputError(f"{path}: has no rows")
    columns = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values, pa.string() if name in text else None)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            if name in needed:
                raise InputError(f"{path}: column '{name}': {_mixed(values, lines) or error}") from error
    return pa.table(columns)


def _row(line: bytes, where: str, text: Collection[str]) -> dict[str, Any]:
    try:
        row = json.loads(line.decode(), object_pairs_hook=_without_duplicates)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not valid JSON ({error.msg}, column {error.colno})") from error
    except RecursionError as error:
        raise InputError(f"{where}: nested too deeply") from error
    except ValueError as error:  # a key twice, a number of thousands of digits
        raise InputError(f"{where}: not readable JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f"{where}: not a JSON object")
    for name in text:
        value = row.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise InputError(f"{where}: '{name}' is not text but {str(value)[:40]}")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise InputError(f"{where}: '{name}' holds half a character (a lone surrogate)")
    return row


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key '{next(name for name in names if names.count(name) > 1)}' twice")
    return row


def _mixed(values: list[Any], lines: list[int]) -> str | None:
    """Where the first value is whose type is not that of those before, numbers being of one; None if none is."""
    first = None
    for value, line in zip(values, lines, strict=True):
        kind = float if type(value) is int else type(value)
        if value is not None and first not in (None, kind):
            return f"line {line}: {str(value)[:40]!r} is of another type than those before"
        first = first if value is None else kind
    return None
