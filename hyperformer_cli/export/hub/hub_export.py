"""Writes a folder ready for the Hugging Face hub: the weights, the recipe and a model card, and no path."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.source import load_backbone
from hyperformer_cli.config.loading import dump_recipe
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.hub.model_card import model_card
from hyperformer_cli.export.hub.without_paths import (
    is_folder,
    published_name,
    published_recipe,
    published_tokenizer_settings,
)
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.verification import TaskComparison, compare_models
from hyperformer_cli.storage.atomic import write_json, write_text
from hyperformer_cli.storage.trained import CONFIG_FILE, WEIGHTS_FILE, read_description


def write(source: ExportSource, folder: Path) -> None:
    """Writes the run's best weights and tokenizer, its recipe, its results if there are any, and a model card.

    Raises:
        InputError: the run is a static export; or only some tasks are wanted, which share what was trained.
    """
    if list(source.tasks) != source.model.tasks:
        raise InputError("--tasks: the hub format holds the trained model, which its tasks share; leave it out")
    run = source.run.folder
    weights = run.weights()
    if source.run.is_static:
        raise InputError(f"{weights}: a static export; the hub format holds what was trained: give the run")
    shutil.copyfile(weights / WEIGHTS_FILE, folder / WEIGHTS_FILE)
    description = read_description(weights)
    backbone = description.backbone | {"name": published_name(description.backbone["name"])}
    write_json(folder / CONFIG_FILE, replace(description, backbone=backbone).as_dict())
    source.run.tokenizer.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    write_json(settings, published_tokenizer_settings(json.loads(settings.read_text(encoding="utf-8"))))
    recipe, results = published_recipe(source.run.recipe), None
    write_text(folder / "recipe.yaml", dump_recipe(recipe))
    if run.is_complete():
        results = run.results()
        write_json(folder / "results.json", results)
    write_text(folder / "README.md", model_card(source, recipe, results))


def verify(source: ExportSource, folder: Path) -> Iterator[TaskComparison]:
    """Compares the run with the model made of the folder; a backbone that is not published must be given."""
    origin = source.model.source
    backbone = source.run.new_backbone() or (load_backbone(origin) if is_folder(origin.name) else None)
    return compare_models(source, AdaptedModel.from_pretrained(folder, backbone).float().eval())
