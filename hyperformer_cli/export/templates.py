"""The texts of an export: Jinja templates in files beside the code that fills them in."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=PackageLoader("hyperformer_cli", "export"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **variables: Any) -> str:
    """Fills in a template.

    Args:
        template: its path below `export/`, such as `onnx/onnx_readme.md`.
        **variables: what it names; one that is missing is an error.
    """
    return _TEMPLATES.get_template(template).render(**variables)
