"""From a file name to a `Recipe`: shipped recipes, `extends`, overrides, and errors that name file, line and key."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from hyperformer_cli.config import yaml_lines
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.task_entries import ENTRY_TAGS, read_task_files
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.tasks.task import Task

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by their path without the suffix; `_*.yaml` are bases, not recipes."""
    folder = _PACKAGE / "recipes"
    folder = folder if folder.is_dir() else _PACKAGE.parent / "recipes"  # in a checkout they stand beside the package
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("[!_]*.yaml"))}


def load_recipe(recipe: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Loads and checks a recipe.

    Args:
        recipe: a YAML file, or the stem of a shipped recipe where there is no such file.
        overrides: `dotted.key=value`, the value in YAML, applied in order.

    Raises:
        InputError: naming file, line, key, what was found, what is allowed and the nearest valid name.
    """
    values, origins = _read(find_recipe(recipe), ())
    return build_recipe(*override_values(values, origins, overrides))


def build_recipe(values: dict[str, Any], origins: dict[str, str] | None = None) -> Recipe:
    """Validates plain values, task files read; `origins` says for each dotted key where it came from."""
    values, origins = read_task_files(values, origins or {})
    try:
        loaded = Recipe.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(explain(error, origins, Recipe))) from error
    loaded._given.update(values)
    loaded._origins.update(origins)
    return loaded


def dump_recipe(recipe: Recipe) -> str:
    """A resolved recipe as YAML, every key stated."""
    return yaml.safe_dump(recipe.as_dict(), sort_keys=False, allow_unicode=True, width=120)


def flatten_recipe(recipe: str | Path) -> str:
    """A recipe's text with what it extends merged in, under its own opening comment; a file that stands alone."""
    path = find_recipe(recipe)
    values, _ = build_recipe(*_read(path, ())).given()
    values = {key: values[key] for key in Recipe.model_fields if key in values}
    comment = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return "\n".join([*comment, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)])


def find_recipe(recipe: str | Path) -> Path:
    """The file of a recipe given as a path, or as the name of a shipped one.

    Raises:
        InputError: with the nearest shipped name.
    """
    path = Path(recipe)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if str(recipe) in shipped:
        return shipped[str(recipe)]
    if path.is_dir():
        raise InputError(f"{recipe}: a folder, not a recipe file")
    raise InputError(
        f"no recipe '{recipe}': no such file, and no shipped recipe of that name; {did_you_mean(path.stem, shipped)}"
    )


def _read(path: Path, inheriting: tuple[Path, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """A file merged over what it extends, and where each value came from."""
    if path.resolve() in inheriting:
        raise InputError(f"{path}: extends itself by way of {inheriting[-1].name}")
    values, lines = yaml_lines.read_mapping(path, "a recipe")
    origins = {"": str(path)} | {key: f"{path}:{line}" for key, line in lines.items()}
    base = values.pop("extends", None)
    if base is None:
        return values, origins
    inherited, inherited_origins = _read(_base_file(path, base, origins["extends"]), (*inheriting, path.resolve()))
    return _merge(inherited, values), inherited_origins | origins


def _base_file(path: Path, base: Any, origin: str) -> Path:
    """What a recipe extends: a file named from its own folder, or a shipped recipe."""
    shipped = shipped_recipes()
    if isinstance(base, str) and (path.parent / base).is_file():
        return path.parent / base
    if isinstance(base, str) and base in shipped:
        return shipped[base]
    known = [*(file.name for file in path.parent.glob("*.yaml")), *shipped]
    raise InputError(f"{origin}: extends: no file {base!r} beside it, no such recipe; {did_you_mean(str(base), known)}")


def _merge(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: _merge(base[key], value) if key in base else value for key, value in over.items()}
    return over


def override_values(
    values: dict[str, Any], origins: dict[str, str], overrides: Iterable[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Applies `dotted.key=value` to plain values in place; returns them and where each came from.

    Raises:
        InputError: an override that is none.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise InputError(f"override '{override}': expected dotted.key=value, such as training.max_steps=1000")
        value, _ = yaml_lines.parse(text, f"override '{override}'")
        set_value(values, origins, parts, value, f"override '{override}'")
    return values, origins


def set_value(values: dict[str, Any], origins: dict[str, str], path: Sequence[str], value: Any, origin: str) -> None:
    """Puts a value at a key path of plain values; `origin` is what errors call the place it came from.

    Raises:
        InputError: the path leads through a value that is not a mapping.
    """
    section = values
    for i, part in enumerate(path[:-1]):
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise InputError(f"{origin}: '{'.'.join(path[: i + 1])}' is a value, not a section")
    section[path[-1]] = value
    key = ".".join(path)
    for below in [known for known in origins if known.startswith(f"{key}.")]:
        del origins[below]  # what stood there is replaced whole
    origins[key] = origin


def explain(error: ValidationError, origins: dict[str, str], root: type[BaseModel]) -> Iterator[str]:
    """One line per error.

    Args:
        error: of validating plain values.
        origins: where each dotted key's value came from.
        root: the model they were validated against.
    """
    problems = error.errors()
    wrong = {problem["loc"] for problem in problems}
    for problem in problems:
        if problem["loc"][:2] == ("adapter", "tasks"):  # the recipe's own, handed on to the method
            if problem["loc"][1:] in wrong:
                continue
            problem["loc"] = problem["loc"][1:]
        path = _key_path(problem["loc"])
        key = ".".join(path)
        at = next((origins[k] for k in _prefixes(path) if k in origins), root.__name__.lower())
        kind, found = problem["type"], problem.get("input")
        if path == ["extends"]:
            yield f"{at}: extends can only stand in a recipe file"
        elif kind == "extra_forbidden":
            yield f"{at}: unknown key '{key}'; {did_you_mean(path[-1], _valid_keys(path[:-1], root))}"
        elif kind == "missing":
            yield f"{at}: key '{key}' is missing"
        elif kind == "literal_error":
            allowed = [name.strip(" '") for name in problem["ctx"]["expected"].replace(" or ", ", ").split(",")]
            yield f"{at}: {key}: found {found!r}; {did_you_mean(str(found), allowed)}"
        elif kind == "value_error":
            yield f"{at}: {key + ': ' if key else ''}{problem['ctx']['error']}"
        else:
            message = problem["msg"].replace("Input should be", "should be").replace("a valid ", "a ")
            yield f"{at}: {key}: found {found!r}, {message}"


def _key_path(loc: tuple[int | str, ...]) -> list[str]:
    """A pydantic location as a recipe's keys, without the names of validators and of a union's members."""
    members = re.compile(r"function-|constrained-|(list|dict)\[")
    parts = [str(part) for part in loc if not members.match(str(part))]
    return [part for i, part in enumerate(parts) if not (part in ENTRY_TAGS and parts[i - 1].isdigit())]


def _prefixes(path: list[str]) -> Iterator[str]:
    for length in range(len(path), -1, -1):
        yield ".".join(path[:length])


def _valid_keys(path: list[str], root: type[BaseModel]) -> list[str]:
    """The keys of the section at `path`, from the model `root` on."""
    model = root
    for part in path:
        if part.isdigit():  # the only lists of sections are those of tasks
            model = Task
        elif part not in ("tasks", "target_tasks"):
            annotation = model.model_fields[part].annotation
            candidates = [annotation, *getattr(annotation, "__args__", ())]
            model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    keys = set(model.model_fields)
    return sorted(keys - {"tasks"} if path == ["adapter"] else keys | {"extends"} if model is Recipe else keys)
