"""YAML that remembers its lines: plain data, and for every dotted key its line in the file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hyperformer_cli.errors import InputError

if TYPE_CHECKING:
    from yaml import SafeLoader as _SafeLoader
else:  # libyaml's is ten times as fast where PyYAML was built with it; a report reads one recipe per run
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_MOST_BYTES = 1 << 20
_DEEPEST = 50
_MOST_VALUES = 100_000  # an alias counts as all that it stands for


class _Loader(_SafeLoader):
    """PyYAML's safe loader with YAML 1.2's numbers: `1e-4`, not only `1.0e-4`; `010` and `1:30` are none, but text."""


_FLOAT = re.compile(r"^[-+]?(?:\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$")
_INT = re.compile(r"^(?:[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F_]+)$")
_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in value if tag != "tag:yaml.org,2002:int"]
    for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def read_mapping(path: Path, what: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Reads a YAML file that holds one mapping, as `parse` does; `what` is what to call it in messages (`a recipe`).

    Raises:
        InputError: the file cannot be read, is too large, is not valid YAML, or holds something else.
    """
    if path.exists() and not path.is_file():  # a pipe, for example, may never end
        raise InputError(f"{path}: not a file")
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError(f"{path}: larger than {_MOST_BYTES:,} bytes; {what} is shorter")
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    values, lines = parse(text, str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path}: {what} is a mapping of keys to values, found {type(values).__name__}")
    return values, lines


def parse(text: str, name: str) -> tuple[Any, dict[str, int]]:
    """Parses one YAML document.

    Args:
        text: the document.
        name: what to call it in messages.

    Returns:
        The data, and the line of every dotted key (`training.max_steps`; list items by number: `tasks.0`).

    Raises:
        InputError: a syntax error, a tag, a duplicate key, or a document too deep or too large to be meant.
    """
    try:
        _check_size(text, name)
        node = yaml.compose(text, _Loader)
        if node is None:
            return {}, {}
        lines = dict(_key_lines(node, "", name, ()))
        return _Loader("").construct_document(node), lines
    except InputError:  # a ValueError, as are PyYAML's own complaints below
        raise
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{name}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InputError(f"{name}: nested too deeply") from error


def _check_size(text: str, name: str) -> None:
    """Bounds depth and size before anything is built: libyaml recurses in C, and aliases of aliases multiply.

    Parsing to events does neither.
    """
    sizes: dict[str, int] = {}  # of what each anchor stands for
    above: list[tuple[str | None, int]] = [(None, 0)]  # anchor of what is open, and values in it so far
    for event in yaml.parse(text, _Loader):
        anchor, size = getattr(event, "anchor", None), 0
        if isinstance(event, yaml.CollectionStartEvent):
            above.append((anchor, 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = above.pop()
        elif isinstance(event, yaml.AliasEvent):
            anchor, size = None, sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
        if anchor is not None and size:
            sizes[anchor] = size
        above[-1] = (above[-1][0], above[-1][1] + size)
        if len(above) > _DEEPEST or above[-1][1] > _MOST_VALUES:
            what = f"deeper than {_DEEPEST} levels" if len(above) > _DEEPEST else f"more than {_MOST_VALUES:,} values"
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise InputError(f"{name}:{line}: nested too deeply or too large: {what}")


def _key_lines(node: yaml.Node, path: str, name: str, above: tuple[yaml.Node, ...]) -> Iterator[tuple[str, int]]:
    """Every dotted key below a node, with its line."""
    if node in above:
        raise InputError(f"{name}:{node.start_mark.line + 1}: '{path}' contains itself")
    children: list[tuple[str, yaml.Node, yaml.Node]] = []  # key, where it is written, value
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(i), item, item) for i, item in enumerate(node.value)]
    seen: set[str] = set()
    for key, written, value in children:
        line = written.start_mark.line + 1
        if isinstance(node, yaml.MappingNode) and written.tag != "tag:yaml.org,2002:str":
            raise InputError(f"{name}:{line}: key {key!r} is not text; put it in quotes if it is meant")
        if key in seen:
            raise InputError(f"{name}:{line}: duplicate key '{key}'")
        seen.add(key)
        child = f"{path}.{key}" if path else key
        yield child, line
        yield from _key_lines(value, child, name, (*above, node))
