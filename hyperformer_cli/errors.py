"""The kinds of failure the command line knows, and the nearest valid name for a typing error."""

import os
from collections.abc import Iterable
from difflib import get_close_matches


class HyperformerError(Exception):
    """A run-time fault with a message for the person at the terminal. Exit code 1."""

    exit_code = 1


class InputError(HyperformerError, ValueError):
    """Something the caller gave is wrong: a recipe, an option, a task, a data file. Exit code 2."""

    exit_code = 2


class WriteError(HyperformerError, OSError):
    """A file could not be written: the disk is full, or a quota or a limit is reached. Exit code 1."""

    def __init__(self, number: int, path: str | os.PathLike[str]):
        super().__init__(number, os.strerror(number), str(path))

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written: {self.strerror}"


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A closing half-sentence: the nearest valid name, or all of them when none is near."""
    names = sorted(valid)
    near = get_close_matches(name, names, n=1)
    return f"did you mean '{near[0]}'?" if near else f"valid: {', '.join(names)}"
