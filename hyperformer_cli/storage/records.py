"""Records, one per row of data, as JSON lines or CSV, written as they come."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from hyperformer_cli.errors import InputError

RecordFormat = Literal["jsonl", "csv"]
FORMATS: tuple[RecordFormat, ...] = get_args(RecordFormat)


class RecordWriter:
    """Writes records to a binary stream.

    In CSV a mapping within a record becomes a column for each of its keys (`scores.low`), and a list is written as
    JSON.

    Args:
        stream: where to.
        record_format: `jsonl` or `csv`.
        columns: of CSV, in their order, mappings as above. A record without one has an empty cell.

    Attributes:
        left_out: keys that records had and CSV has no column for.
    """

    def __init__(self, stream: BinaryIO, record_format: RecordFormat, columns: Sequence[str] = ()):
        self._stream, self._format, self._columns = stream, record_format, list(columns)
        self.left_out: dict[str, None] = {}
        if record_format == "csv":
            self._write_cells([self._columns])

    def write(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Writes records, and flushes."""
        if self._format == "csv":
            self._write_cells([self._cells(record) for record in records])
        else:
            lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records)
            self._stream.write("".join(f"{line}\n" for line in lines).encode())
        self._stream.flush()

    def _cells(self, record: Mapping[str, Any]) -> list[str]:
        flat: dict[str, Any] = {}
        for key, value in record.items():
            flat |= {f"{key}.{inner}": own for inner, own in value.items()} if isinstance(value, dict) else {key: value}
        self.left_out |= dict.fromkeys(key for key in flat if key not in self._columns)
        return [_cell(flat.get(column)) for column in self._columns]

    def _write_cells(self, rows: Iterable[Sequence[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._stream.write(text.getvalue().encode())


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def record_format_of(file: Path) -> RecordFormat:
    """The format that a file's name ends in; an InputError if it ends in none."""
    for name in FORMATS:
        if file.suffix.lower() == f".{name}":
            return name
    raise InputError(f"{file}: name a file that ends in {' or '.join(f'.{name}' for name in FORMATS)}")
