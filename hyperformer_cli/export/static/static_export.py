"""Writes every task's adapters as plain tensors, with a README that says how to use them without this package."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.bundled import folder_of
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.readme import write_readme
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.verification import TaskComparison, compare_models
from hyperformer_cli.storage.trained import read_description


def write(source: ExportSource, folder: Path) -> None:
    """Writes the adapters, the layer norms, the tokenizer, the recipe and a README with working code.

    Raises:
        InputError: the method has no adapters to write.
    """
    run = source.run.folder
    if source.form is None:
        raise InputError(
            f"{run.path}: finetune has no adapters: it trained the whole backbone. Share the run with --format hub, or "
            f"write a model for transformers alone: AdaptedModel.from_pretrained('{run.weights()}')"
            ".backbone.save_pretrained(FOLDER)"
        )
    about = {task: source.about(task) for task in source.tasks}
    description = read_description(run.weights())  # hashed as it was loaded, before it was made float32
    source.model.save_static(folder, list(source.tasks), about, description)
    source.run.tokenizer.save_pretrained(folder)
    shutil.copyfile(run.recipe_file, folder / "recipe.yaml")
    _write_readme(source, folder)


def verify(source: ExportSource, folder: Path) -> Iterator[TaskComparison]:
    """Compares the run with the model that `AdaptedModel.from_pretrained` makes of the folder."""
    return compare_models(source, AdaptedModel.from_pretrained(folder, source.run.new_backbone()).float().eval())


def _write_readme(source: ExportSource, folder: Path) -> None:
    """Its code runs unchanged where the backbone is a published model or a folder.

    How adapters are used with torch and transformers alone depends on their form: `<form>.md.jinja` is that section,
    which the README lacks where there is no such file.
    """
    origin, family = source.model.source, source.model.family
    path = Path(folder_of(origin.name) if origin.name and origin.init != "random" else "path/to/backbone")
    write_readme(
        source,
        folder,
        "static/static_readme.md.jinja",
        config=source.model.config,
        shape=source.model.backbone.config,
        stacks=dict(family.stacks),
        sublayers=dict(family.sublayers),
        depths_are_equal=len({family.depth(source.model.backbone.config, stack) for stack in family.stacks}) == 1,
        code=source.code,
        origin=origin,
        is_folder=path.is_dir(),
        backbone=path.resolve() if path.is_dir() else path,
        plain_use=f"static/{source.form}.md.jinja",
    )
