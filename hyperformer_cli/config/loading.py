"""From a file name to a `Recipe`: shipped recipes, `extends`, overrides, and errors that name file, line and key."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hyperformer_cli.config.data_paths import with_absolute_paths
from hyperformer_cli.config.json_schema import EDITOR_COMMENT, HEADER
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.task_entries import read_task_files
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.schema import yaml_lines
from hyperformer_cli.schema.explain import explain

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by their path without the suffix; `_*.yaml` are bases, not recipes."""
    folder = _PACKAGE / "recipes"
    folder = folder if folder.is_dir() else _PACKAGE.parent / "recipes"  # in a checkout they are beside the package
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
    """Validates plain values, task files read; `origins` says for each dotted key where it came from.

    Relative paths of data become absolute; see `config.data_paths`.
    """
    values, origins = read_task_files(values, origins or {})
    values = with_absolute_paths(values, origins)
    try:
        loaded = Recipe.model_validate(values)
    except ValidationError as error:
        lines = explain(error, origins, Recipe, also=["extends"], moved={("adapter", "tasks"): ("tasks",)})
        raise InputError("\n".join(lines)) from error
    loaded._given.update(values)
    loaded._origins.update(origins)
    return loaded


def dump_recipe(recipe: Recipe) -> str:
    """A resolved recipe as YAML, every key stated."""
    return yaml.safe_dump(recipe.as_dict(), sort_keys=False, allow_unicode=True, width=120)


def flatten_recipe(recipe: str | Path) -> str:
    """A recipe's text with what it extends merged in, under its own opening comment; a file that stands alone.

    Its first line names the schema beside it, which `hyperformer recipes schema` prints.
    """
    path = find_recipe(recipe)
    values, _ = build_recipe(*_read(path, ())).given()
    values = {key: values[key] for key in Recipe.model_fields if key in values}
    comments = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    own = (line for line in comments if not line.startswith(EDITOR_COMMENT))
    return "\n".join([HEADER, *own, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)])


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
    if isinstance(base, str) and (path.parent / base).is_file():
        return path.parent / base
    shipped = shipped_recipes()
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
        InputError: an override without a key or a value.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise InputError(f"override '{override}': expected dotted.key=value, such as training.max_steps=1000")
        value, _ = yaml_lines.parse(text, f"override '{override}'")
        set_value(values, origins, parts, value if text.strip() else None, f"override '{override}'")
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
        del origins[below]  # the whole section is replaced
    origins[key] = origin
