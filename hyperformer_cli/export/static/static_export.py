"""Writes every task's adapters as plain tensors, with a README that says how to use them without this package."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from hyperformer_cli.adapters import static
from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.adapters.pretrained import read_description
from hyperformer_cli.backbones.source import BackboneSource
from hyperformer_cli.bundled import folder_of
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.templates import render
from hyperformer_cli.export.verification import TaskComparison, compare_models
from hyperformer_cli.storage.atomic import write_text


def export_static(source: ExportSource, folder: Path) -> None:
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
    backbone = read_description(run.weights())["backbone"]  # hashed as it was loaded, before it was made float32
    static.save(source.model, folder, list(source.tasks), about, backbone)
    source.tokenizer.save_pretrained(folder)
    shutil.copyfile(run.recipe_file, folder / "recipe.yaml")
    write_text(folder / "README.md", _readme(source))


def verify_static(source: ExportSource, folder: Path) -> Iterator[TaskComparison]:
    """Compares the run with the model that `AdaptedModel.from_pretrained` makes of the folder."""
    return compare_models(source, AdaptedModel.from_pretrained(folder, source.run.new_backbone()).float().eval())


def _readme(source: ExportSource) -> str:
    """Its code works as it stands where the backbone is a published model or a folder.

    How adapters are used with torch and transformers alone depends on their form and the family of the backbone:
    `<form>_<family>.md` is that section, which the README lacks where there is no such file.
    """
    origin, task = source.model.source, source.first_task
    return render(
        "static/static_readme.md",
        name=source.recipe.name,
        tasks=list(source.tasks),
        task=task,
        config=source.model.config,
        origin=origin,
        is_folder=origin.name is not None and Path(folder_of(origin.name)).is_dir(),
        plain_use=f"static/{source.form}_{source.family}.md",
        from_pretrained=_arguments_of_from_pretrained(origin),
        example=json.dumps(source.example_input(task)),
        shape=source.model.backbone.config,
    )


def _arguments_of_from_pretrained(origin: BackboneSource) -> str:
    """With these, transformers loads the backbone in the precision it was frozen in."""
    dtype = f"dtype=torch.{origin.dtype}"
    if origin.init == "random" or origin.name is None:
        return f'"path/to/backbone", {dtype}'
    name = folder_of(origin.name)
    if Path(name).is_dir():
        return f'"{Path(name).resolve()}", {dtype}'
    revision = "" if origin.revision in (None, "main") else f', revision="{origin.revision}"'
    return f'"{name}"{revision}, {dtype}'
