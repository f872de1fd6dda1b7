"""What is published contains no paths of this machine: each is reduced to its last part."""

from pathlib import Path
from typing import Any

from hyperformer_cli.bundled import BUNDLED, is_bundled_model
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.config.recipe import Recipe


def is_folder(name: str | None) -> bool:
    """Whether the name of a model or tokenizer is a folder of this machine, which others could not load."""
    return name is not None and not is_bundled_model(name) and (Path(name).is_absolute() or Path(name).is_dir())


def published_name(name: str | None) -> str | None:
    """The name of a model or tokenizer; of a folder only its last part."""
    return Path(name).resolve().name if name is not None and is_folder(name) else name


def published_recipe(recipe: Recipe) -> Recipe:
    """The recipe without paths."""
    values = recipe.as_dict()
    for key in ("name", "tokenizer"):
        values["model"][key] = published_name(values["model"][key])
    for entry in [*values["tasks"], *(values["fewshot"] or {}).get("target_tasks", ())]:
        if isinstance(entry, dict) and entry["files"]:
            entry["files"] = {split: Path(file).name for split, file in entry["files"].items()}
    if values["data"]["source"] not in ("hub", BUNDLED):
        values["data"]["source"] = Path(values["data"]["source"]).name or "data"
    values["output_dir"] = str(Path("outputs") / Path(values["output_dir"]).name)
    return build_recipe(values)


def published_tokenizer_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's settings without paths."""
    paths = {key for key, value in settings.items() if key.endswith(("_path", "_file")) and isinstance(value, str)}
    return {key: Path(value).name if key in paths else value for key, value in settings.items()}
