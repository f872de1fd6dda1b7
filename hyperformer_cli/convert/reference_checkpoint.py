"""Checkpoints of the reference code (https://github.com/rabeehk/hyperformer) as run folders."""

import pickle
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.convert.converted_run import target_of, write_run
from hyperformer_cli.data.loading import load_tokenizer
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.storage.manifest import sha256_of_file


def convert_checkpoint(file: Path, recipe: Recipe, to: Path | None = None) -> RunFolder:
    """Makes a run folder from a checkpoint: like a trained one, but without results and checkpoints.

    Args:
        file: safetensors, or a `pytorch_model.bin`, from which nothing but tensors is read.
        recipe: what was trained: backbone, method, options and tasks.
        to: a folder that does not exist; the recipe's `output_dir` by default.

    Raises:
        InputError: the file is damaged, is not a state dict or holds code; it does not fit the recipe's method; its
            frozen weights are not those of the recipe's backbone; or the target exists.
    """
    run, recipe = target_of(recipe, to)
    names = {task.prefix: task.name for task in recipe_tasks(recipe) if task.prefix}
    state = {_renamed(name, names): tensor for name, tensor in _read_state_dict(file).items()}
    tokenizer = load_tokenizer(recipe)
    model = _load_model(state, recipe, str(file))
    write_run(run, recipe, model, tokenizer, {"file": file.name, "sha256": sha256_of_file(file)})
    return run


def _load_model(state: dict[str, Tensor], recipe: Recipe, origin: str) -> AdaptedModel:
    """The recipe's model with the tensors of a checkpoint, which messages call `origin`."""
    source = BackboneSource.from_recipe(recipe)
    backbone = load_backbone(source)
    model = AdaptedModel.attach(backbone, recipe.adapter, source.resolved(backbone)).eval()
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    try:
        model.load_reference_state_dict(state)
    except InputError as error:
        raise InputError(f"{origin}: {error} (method '{recipe.adapter.method}', {len(recipe.tasks)} tasks)") from error
    parameters = dict(model.named_parameters())
    infinite = [name for name, parameter in parameters.items() if not parameter.isfinite().all()]
    if infinite:
        raise InputError(f"{origin}: {infinite[0]} is not finite, nor are {len(infinite) - 1} other tensors")
    other = [name for name, before in frozen.items() if not torch.equal(parameters[name], before)]
    if other:
        difference = float((parameters[other[0]].float() - frozen[other[0]].float()).abs().max())
        raise InputError(
            f"{origin}: was not trained on the recipe's backbone ({recipe.model.name or 'a random draw'}): "
            f"{len(other)} of {len(frozen)} frozen tensors differ, {other[0].removeprefix('backbone.')} by "
            f"{difference:.3g}. A run folder holds only what was trained; name its backbone in the recipe"
        )
    return model


def _read_state_dict(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file; no code that a pickle may hold is run."""
    if file.is_dir():
        raise InputError(f"{file}: a folder; give the file of weights in it, such as {file / 'pytorch_model.bin'}")
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{file}: not read: it is damaged, or a pickle of more than tensors, which could run code. "
            "Save the model's state_dict() alone, preferably as safetensors"
        ) from error
    except Exception as error:  # whatever torch's unpickler, zipfile and safetensors make of a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{file}: damaged, or not a file of weights ({reason})") from error
    entries = state.items() if isinstance(state, dict) else ()
    if not entries or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in entries):
        raise InputError(f"{file}: not a state dict; expected parameter names and tensors")
    return state


def _renamed(parameter: str, tasks: dict[str, str]) -> str:
    """A parameter's name with the reference's names of tasks, such as `superglue-cb`, replaced by ours."""
    return ".".join(tasks.get(part, part) for part in parameter.split("."))
