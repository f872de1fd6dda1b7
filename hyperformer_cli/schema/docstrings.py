"""What the docstring of a section says: about the section, and about each of its keys."""

import inspect
import re

_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def summary(section: type) -> str:
    """What a section's docstring says before it lists arguments."""
    return re.split(r"\n(?:Args|Attributes|Raises):\n", inspect.getdoc(section) or "")[0].strip()


def key_meanings(section: type) -> dict[str, str]:
    """The arguments that a section's docstring explains, each in one line."""
    listed = re.split(r"\nRaises:\n", inspect.getdoc(section) or "")[0]
    return {key: " ".join(text.split()) for key, text in _ARGUMENT.findall(listed)}
