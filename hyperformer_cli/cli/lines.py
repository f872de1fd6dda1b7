"""Lines that may be longer than a window is wide."""

import os
import sys
import textwrap
from typing import IO, Any

import typer


def say(text: str, hanging: int = 0, err: bool = False, **style: Any) -> None:
    """Prints a text to stdout or stderr: on a terminal folded between words, elsewhere line by line as it is.

    Args:
        text: one or more lines.
        hanging: columns by which what follows the first line of a folded line is indented.
        err: to stderr.
        style: of the text on a terminal, as `typer.style` takes it.
    """
    stream = sys.stderr if err else sys.stdout
    typer.secho(
        text if (width := _width(stream)) is None else fold(text, width, hanging), err=err, reset=bool(style), **style
    )


def fold(text: str, width: int, hanging: int = 0) -> str:
    """The text with lines of at most so many columns, unless a single word is longer."""
    return "\n".join(
        textwrap.fill(
            line, width, subsequent_indent=" " * hanging, break_long_words=False, break_on_hyphens=False,
            expand_tabs=False, replace_whitespace=False,
        )
        for line in text.split("\n")
    )  # fmt: skip


def _width(stream: IO[str]) -> int | None:
    """Columns of the terminal that a stream writes to; None if it is none."""
    if not stream.isatty():
        return None
    try:
        return int(os.environ.get("COLUMNS", "")) or None
    except ValueError:
        return os.get_terminal_size(stream.fileno()).columns or None
