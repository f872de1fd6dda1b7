"""Templates: texts with columns in braces, such as `title: {title} first: {choices[text][0]}`, and filling them.

Training and prediction fill them by the same function, so neither takes a row that the other refuses.
"""

import re
from collections.abc import Mapping
from functools import cache
from string import Formatter
from typing import Any

from hyperformer_cli.errors import InputError

# A column, and what lies in it: keys and numbers in brackets.
_FIELD = re.compile(r"([^\[\].]+)((?:\[[^\[\].]+\])*)")


def checked_template(template: str) -> str:
    """The template; raises ValueError if it is none, or names no column."""
    try:
        fields = [field for field in Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise ValueError(f"not a template ({error}); double the braces that are meant as text: {{{{ }}}}") from None
    if not fields or not all(name for _, name, _, _ in fields):
        raise ValueError("name columns in braces, such as 'title: {title} text: {text}'")
    for _, name, form, conversion in fields:
        if not _FIELD.fullmatch(str(name)) or form or conversion:
            raise ValueError(f"'{{{name}}}': only columns, and what lies in them: {{text}}, {{choices[text][0]}}")
    return template


def is_template(text: str) -> bool:
    """Whether a text is a template, and so whether a name in braces can be a column of one."""
    try:
        return bool(checked_template(text))
    except ValueError:
        return False


@cache
def template_parts(template: str) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """A template as (text before a field, the field's column, the keys inside it); the last may have no column."""
    parts = []
    for text, name, _, _ in Formatter().parse(template):
        column, bracket, rest = (name or "").partition("[")
        parts.append((text, column, tuple((bracket + rest)[1:-1].split("][")) if bracket else ()))
    return tuple(parts)


def template_columns(template: str) -> list[str]:
    """The columns that a template names, each once."""
    return list(dict.fromkeys(column for _, column, _ in template_parts(template) if column))


def fill_template(template: str, row: Mapping[str, Any]) -> str:
    """The text of a row.

    Raises:
        InputError: a column is missing or null, does not hold what the template looks for in it, or that is not text.
    """
    filled = []
    for text, column, keys in template_parts(template):
        filled.append(text)
        if column:
            value = row.get(column)
            filled.append(value if not keys and isinstance(value, str) else _text_in(row, column, keys))
    return "".join(filled)


def _text_in(row: Mapping[str, Any], column: str, keys: tuple[str, ...]) -> str:
    """What a field stands for; refuses what str.format would accept, such as the first letter of a text as `[0]`."""
    if column not in row:
        raise InputError(f"no column '{column}'")
    value, field = row[column], column
    if value is None:
        raise InputError(f"column '{column}' is null")
    for key in keys:
        if not isinstance(value, (list, dict)):
            known = f"column '{column}'" if field == column else f"'{field}'"
            raise InputError(f"{known} must hold several texts (as in JSON lines or parquet), not {_shown(value)}")
        field = f"{field}[{key}]"
        inside = value if isinstance(value, dict) else {str(number): item for number, item in enumerate(value)}
        if key not in inside:
            raise InputError(f"column '{column}' has no '[{']['.join(keys)}]'")
        value = inside[key]
    if not isinstance(value, str):
        raise InputError(f"'{field}' is not text but {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return str(value)[:40]
