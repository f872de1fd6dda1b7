"""Validation errors for the person who wrote the file: where, which key, what was found, and the nearest valid name."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hyperformer_cli.errors import did_you_mean

Location = tuple[int | str, ...]

# Not keys but pydantic's: the names of validators, and of the members of a union (which we put in parentheses).
_NOT_A_KEY = re.compile(r"function-|constrained-|(list|dict)\[|\(")


def explain(
    error: ValidationError,
    origins: Mapping[str, str],
    root: type[BaseModel],
    also: Collection[str] = (),
    moved: Mapping[Location, Location] | None = None,
) -> Iterator[str]:
    """One line per error.

    Args:
        error: of validating plain values against `root`.
        origins: where each dotted key's value came from.
        also: keys that a file may have besides the model's.
        moved: places of the model whose values are written elsewhere in a file, with those places.
    """
    problems, moved = error.errors(), moved or {}
    wrong = [_path(problem["loc"]) for problem in problems]
    for problem in problems:
        loc = problem["loc"]
        written = next((there + loc[len(here) :] for here, there in moved.items() if loc[: len(here)] == here), loc)
        path = _path(written)
        if written != loc and path in wrong:
            continue
        if any(other != path and other[: len(path)] == path for other in wrong) and problem["type"] != "value_error":
            continue  # a problem within it says what is wrong
        key = ".".join(path)
        above = (".".join(path[:length]) for length in range(len(path), -1, -1))
        at = next((origins[k] for k in above if k in origins), root.__name__.lower())
        kind, found = problem["type"], problem.get("input")
        if key in also:
            yield f"{at}: {key} is a key of {root.__name__.lower()} files only"
        elif kind == "extra_forbidden":
            valid = set(_model_at(path[:-1], root).model_fields) | (set(also) if len(path) == 1 else set())
            valid -= {str(here[-1]) for here in moved if list(here[:-1]) == path[:-1]}
            yield f"{at}: unknown key '{key}'; {did_you_mean(path[-1], valid)}"
        elif kind == "missing":
            yield f"{at}: key '{key}' is missing"
        elif kind == "literal_error":
            allowed = [name.strip(" '") for name in problem["ctx"]["expected"].replace(" or ", ", ").split(",")]
            yield f"{at}: {key}: found {found!r}; {did_you_mean(str(found), allowed)}"
        elif kind == "value_error":
            yield f"{at}: {key + ': ' if key else ''}{problem['ctx']['error']}"
        else:
            message = problem["msg"].replace("Input should be", "should be").replace("a valid ", "a ")
            message = message.replace("a integer", "an integer").replace("Value error, ", "")
            yield f"{at}: {key}: found {found!r}, {message}"


def _path(loc: Location) -> list[str]:
    return [str(part) for part in loc if not _NOT_A_KEY.match(str(part))]


def _model_at(path: list[str], root: type[BaseModel]) -> type[BaseModel]:
    """The model of the section at a path."""
    model = root
    for part in path:
        if not part.isdigit():  # an item of a list is of the model that the list's annotation names
            model = next(_models_in(model.model_fields[part].annotation))
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
