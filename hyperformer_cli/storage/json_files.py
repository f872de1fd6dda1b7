"""Reading JSON that a person, a disk or another program may have damaged."""

import json
from pathlib import Path
from typing import Any


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it is missing, or cannot be read.
        ValueError: it is not JSON, nested too deeply, or no regular file; a pipe, for example, may never end.
    """
    if file.exists() and not file.is_file():
        raise ValueError("not a file")
    try:
        return json.loads(file.read_bytes())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
