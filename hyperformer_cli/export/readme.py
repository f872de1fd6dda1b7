"""README.md of an export, filled in from the template beside the code of its format."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.storage.atomic import write_text

_TEMPLATES = Environment(
    loader=PackageLoader("hyperformer_cli", "export"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_readme(source: ExportSource, folder: Path, template: str, task: str | None = None, **variables: Any) -> None:
    """Writes an export's README from a template below `export/`; its code is for one task, the first by default.

    `variables` are what the template uses besides `name`, `tasks`, `task`, `about` and `example`.
    """
    task = task or source.first_task
    text = _TEMPLATES.get_template(template).render(
        name=source.run.recipe.name,
        tasks=list(source.tasks),
        task=task,
        about=source.about(task),
        example=json.dumps(source.example_input(task)),
        **variables,
    )
    write_text(folder / "README.md", text)
