"""YAML that remembers its lines: plain data, and for every dotted key the line it stands on."""

import re
from pathlib import Path
from typing import Any

import yaml

from hyperformer_cli.errors import InputError

# Ten times as fast where PyYAML was built with it; a report reads a recipe a run.
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """PyYAML's safe loader, with YAML 1.2's floats (`1e-4`, not only `1.0e-4`)."""


_FLOAT = re.compile(r"^[-+]?(?:\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$")
_Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def read_mapping(path: Path, what: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Reads a YAML file that holds one mapping, as `parse` does; `what` is what to call it in messages (`a recipe`).

    Raises:
        InputError: the file cannot be read, is not valid YAML, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
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
        InputError: a syntax error, a tag, or a key that stands twice.
    """
    lines: dict[str, int] = {}
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return {}, lines
        _collect(node, "", lines, name, ())
        return loader.construct_document(node), lines
    except InputError:  # a ValueError, as are PyYAML's own complaints below
        raise
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{name}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InputError(f"{name}: nested too deeply") from error
    finally:
        if loader is not None:
            loader.dispose()


def _collect(node: yaml.Node, path: str, lines: dict[str, int], name: str, above: tuple[yaml.Node, ...]) -> None:
    if node in above:
        raise InputError(f"{name}:{node.start_mark.line + 1}: '{path}' contains itself")
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key_node.tag != "tag:yaml.org,2002:str":
                raise InputError(f"{name}:{line}: key {key!r} is not text; put it in quotes if it is meant")
            if key in seen:
                raise InputError(f"{name}:{line}: key '{key}' stands twice")
            seen.add(key)
            child = f"{path}.{key}" if path else key
            lines[child] = line
            _collect(value_node, child, lines, name, above)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[f"{path}.{i}"] = item.start_mark.line + 1
            _collect(item, f"{path}.{i}", lines, name, above)
