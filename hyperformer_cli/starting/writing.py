"""Files that `init` writes: never over what is there, unless that is asked for, and never over the data themselves."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from hyperformer_cli.errors import InputError


def check_new(files: Sequence[Path], read: Sequence[Path], force: bool) -> None:
    """Checks that all files can be written.

    Raises:
        InputError: one is among those that are read, or exists and `force` is not given.
    """
    for file in files:
        for data in read:
            if file.resolve() == data.resolve():
                raise InputError(f"{data} would be written over; choose another --name or --to")
    existing = [str(file) for file in files if file.exists()]
    if existing and not force:
        raise InputError(f"{', '.join(existing)}: already there; choose another --name or --to, or --force")


def csv_text(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as CSV, in UTF-8's usual dialect: commas, quotes where needed, one header line."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
