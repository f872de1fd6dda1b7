"""`--format hub`: a folder ready for the Hugging Face hub, with the weights, the recipe and a model card.

What it holds may be read by anyone: a path of this machine is reduced to its last part.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones import hub
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.bundled import BUNDLED
from hyperformer_cli.config.loading import build_recipe, dump_recipe
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.export.card import model_card
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.verification import Comparison, compare_models
from hyperformer_cli.storage.atomic import write_json, write_text
from hyperformer_cli.storage.trained import CONFIG_FILE, WEIGHTS_FILE, Description, read_description


def export_hub(source: ExportSource, folder: Path) -> list[Path]:
    """Writes the run's best weights and tokenizer, its recipe, its results if there are any, and a model card.

    Raises:
        InputError: a static export is given, or only some of the tasks are wanted: what they share cannot be taken
            apart.
    """
    if source.tasks != source.model.tasks:
        raise InputError("--tasks: the hub format holds the trained model, which its tasks share; leave it out")
    weights = source.run.weights()
    if read_description(weights).weights == "static":
        raise InputError(f"{weights}: a static export; the hub format holds what was trained: give the run")
    shutil.copyfile(weights / WEIGHTS_FILE, folder / WEIGHTS_FILE)
    write_json(folder / CONFIG_FILE, _published_description(read_description(weights)))
    source.tokenizer.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    write_json(settings, without_paths(json.loads(settings.read_text(encoding="utf-8"))))
    recipe, results = published_recipe(source.recipe), None
    write_text(folder / "recipe.yaml", dump_recipe(recipe))
    if source.run.is_complete():
        results = json.loads(source.run.results_file.read_text(encoding="utf-8"))
        write_json(folder / "results.json", results)
    published = replace(source.model.source, name=recipe.model.name)
    write_text(folder / "README.md", model_card(source, recipe, published, is_folder(source.model.source), results))
    return sorted(folder.iterdir())


def verify_hub(source: ExportSource, folder: Path) -> Comparison:
    """Compares the run with the model made of the folder; a backbone that is not published must be given."""
    origin = source.model.source
    backbone = source.given_backbone() or (load_backbone(origin) if is_folder(origin) else None)
    return compare_models(source, AdaptedModel.from_pretrained(folder, backbone).float().eval())


def is_folder(origin: BackboneSource) -> bool:
    """Whether a backbone lies in a folder of this machine and has no name that others could load."""
    path = Path(origin.name or BUNDLED)
    return origin.name not in (None, BUNDLED) and (path.is_absolute() or path.is_dir())


def published_recipe(recipe: Recipe) -> Recipe:
    """The recipe with every path of this machine reduced to its last part."""
    values = recipe.as_dict()
    for key in ("name", "tokenizer"):
        given = values["model"][key]
        if is_folder(BackboneSource(given)):
            values["model"][key] = Path(given).resolve().name
    for entry in [*values["tasks"], *(values["fewshot"] or {}).get("target_tasks", ())]:
        if isinstance(entry, dict) and entry["files"]:
            entry["files"] = {split: Path(file).name for split, file in entry["files"].items()}
    if values["data"]["source"] not in ("hub", BUNDLED):
        values["data"]["source"] = Path(values["data"]["source"]).name or "data"
    values["output_dir"] = str(Path("outputs") / Path(values["output_dir"]).name)
    return build_recipe(values)


def without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's settings in which every path is only its last part."""
    paths = {key for key, value in settings.items() if key.endswith(("_path", "_file")) and isinstance(value, str)}
    return {key: Path(value).name if key in paths else value for key, value in settings.items()}


def _published_description(description: Description) -> dict[str, Any]:
    backbone = dict(description.backbone)
    if is_folder(BackboneSource(backbone["name"])):
        backbone["name"] = Path(backbone["name"]).resolve().name
    return replace(description, backbone=backbone).as_dict()


def check_push(repository: str) -> None:
    """Fails before any work is done for an upload that cannot happen.

    Raises:
        InputError: not `owner/name`, or the hub does not answer.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"--push-to {repository}: {str(error).splitlines()[0]}") from error
    if repository.count("/") != 1:
        raise InputError(f"--push-to {repository}: expected owner/name")
    if not hub.is_reachable():
        raise InputError(f"--push-to {repository}: the hub cannot be reached; export without it and push later")


def push(folder: Path, repository: str) -> str:
    """Uploads a folder as a model repository, which is created if there is none; returns its address.

    Raises:
        HyperformerError: the hub refused; the folder stays.
    """
    api = HfApi()
    try:
        address = api.create_repo(repository, repo_type="model", exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Exported by hyperformer")
    except Exception as error:  # whatever the network, the hub and its client make of it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise HyperformerError(
            f"{folder} is written and verified, but was not pushed to {repository}: {reason}. "
            f"Once that is solved: hf upload {repository} {folder}"
        ) from error
    return str(address)
