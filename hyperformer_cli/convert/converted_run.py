"""The run folder that is made of weights from elsewhere: like a trained one, but without results and checkpoints."""

import os
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.loading import build_recipe, dump_recipe
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.errors import InputError, WriteError
from hyperformer_cli.runs.environment import describe_environment
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.weights import write_weights
from hyperformer_cli.storage.atomic import atomic_folder, write_json, write_text


def target_of(recipe: Recipe, to: Path | None) -> tuple[RunFolder, Recipe]:
    """The folder that is going to be written, and the recipe with it as `output_dir`.

    Args:
        recipe: what the weights were trained as.
        to: a folder that does not exist; the recipe's `output_dir` by default.

    Raises:
        InputError: the recipe trains each task alone, or the folder exists.
    """
    run = RunFolder(to or Path(recipe.output_dir))
    if not recipe.joint:
        raise InputError(f"{recipe.where('joint')}: joint: a checkpoint holds one model; set joint=true and its tasks")
    if os.path.lexists(run.path):
        raise InputError(f"{run.path} exists; choose another folder with --to, or remove it")
    return run, build_recipe({**recipe.as_dict(), "output_dir": str(run.path)})


def write_run(
    run: RunFolder, recipe: Recipe, model: AdaptedModel, tokenizer: PreTrainedTokenizerBase, origin: dict[str, Any]
) -> None:
    """Writes the folder; `origin` says where the weights came from.

    Raises:
        InputError: it cannot be written.
        WriteError: the disk is full.
    """
    environment = {**describe_environment(world_size=1), "converted_from": origin}
    try:
        with atomic_folder(run.path) as folder:
            made = RunFolder(folder)
            write_text(made.recipe_file, dump_recipe(recipe))
            write_json(made.environment_file, environment)
            for weights in (made.best, made.last):
                write_weights(weights, model.describe(), model.trained_parameters(), tokenizer)
    except WriteError:
        raise
    except OSError as error:
        raise InputError(f"{run.path}: cannot be written: {error}") from error
