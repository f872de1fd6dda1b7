"""A recipe's model and data in a folder, for compute nodes without network."""

import json
import re
from pathlib import Path
from typing import Any

from pyarrow import parquet

from hyperformer_cli.backbones.configuration import backbone_config
from hyperformer_cli.backbones.families import published_shape
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks, target_tasks
from hyperformer_cli.data.loading import load_tokenizer
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of
from hyperformer_cli.errors import InputError, WriteError
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.schema.section import SPLITS
from hyperformer_cli.storage.atomic import atomic_folder, write_json

MODEL, DATA, DESCRIPTION = "model", "data", "prefetch.json"


def prefetch(recipe: Recipe, to: Path, observer: Observer = SILENT) -> dict[str, Any]:
    """Writes what training a recipe (and its few-shot targets) reads: `model/` and `data/<task>/<split>.parquet`.

    Tasks with files of their own stay where they are.

    Returns:
        What `prefetch.json` holds: `overrides` that make the recipe read the folder, the model's commit, rows by file.

    Raises:
        InputError: the folder exists or cannot be written, or something cannot be loaded; nothing is left behind.
    """
    if to.exists():
        raise InputError(f"{to} exists; choose another folder with --to, or remove it")
    tasks = [*recipe_tasks(recipe), *target_tasks(recipe)]
    rows: dict[str, int] = {}
    try:
        with atomic_folder(to) as folder:
            commit = _write_model(recipe, folder / MODEL)
            observer.reported(f"{recipe.model.name or 'tokenizer'}: {commit or 'no commit'}")
            for task in tasks:
                if task.files is not None:
                    observer.reported(f"{task.name}: has files of its own, which stay where they are")
                    continue
                for split in dict.fromkeys(source_split_of(task, role) for role in SPLITS):
                    table = load_rows(task, split, recipe.data.source).table
                    file = folder / DATA / task.name / f"{split}.parquet"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    parquet.write_table(table, file)
                    rows[f"{task.name}/{split}"] = table.num_rows
                    observer.reported(f"{task.name}/{split}: {table.num_rows:,} rows")
            paths = {"model.tokenizer": MODEL, "data.source": DATA}
            if (folder / MODEL / "config.json").is_file():
                paths["model.name"] = MODEL
            overrides = [f"{key}={_as_yaml(str(to / part))}" for key, part in paths.items()]
            found = {"recipe": recipe.name, "commit": commit, "overrides": overrides, "rows": rows}
            write_json(folder / DESCRIPTION, found)
    except WriteError:
        raise
    except OSError as error:
        raise InputError(f"{to}: cannot be written: {error}") from error
    return found


def _write_model(recipe: Recipe, folder: Path) -> str | None:
    """The tokenizer and the pretrained backbone, or its shape; returns the commit, if it is known."""
    load_tokenizer(recipe).save_pretrained(folder)
    name = recipe.model.name
    if recipe.model.init == "random":
        if name is not None and published_shape(name) is None:
            backbone_config(name, {}, recipe.model.revision).save_pretrained(folder)
        return None
    source = BackboneSource.from_recipe(recipe)
    backbone = load_backbone(source)
    backbone.save_pretrained(folder)
    resolved = source.resolved(backbone)
    return resolved.revision if resolved.is_pinned else None


def _as_yaml(path: str) -> str:
    """A path as an override's value, which is read as YAML."""
    return path if re.fullmatch(r"[\w./+-]+", path) else json.dumps(path)
