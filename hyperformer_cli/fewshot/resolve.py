"""From a command line to the run and the recipe of a transfer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperformer_cli.config.fewshot import AUTO, FewshotSection
from hyperformer_cli.config.loading import build_recipe, load_recipe, override_values, set_value
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import target_tasks
from hyperformer_cli.config.task_entries import entry_name
from hyperformer_cli.data.sizes import sizes_are, split_size
from hyperformer_cli.errors import InputError
from hyperformer_cli.fewshot.protocol import check_are_new, fewshot_section, settings_of, starting_task, trials_of
from hyperformer_cli.runs.fewshot_files import check_settings
from hyperformer_cli.runs.folder import RunFolder

DEFAULT_RECIPE = "fewshot"
# The keys that a transfer uses, besides `fewshot`.
_USED_KEYS = {
    "data": ("source", "protocol", "max_source_length", "max_target_length"),
    "evaluation": ("batch_size", "num_beams", "max_examples"),
    "training": (
        "label_smoothing",
        "loss_reduction",
        "max_grad_norm",
        "precision",
        "micro_batch_size",
        "micro_batching",
    ),
}


def resolve(
    folder: Path | None, recipe: str | None, overrides: Sequence[str], options: Mapping[str, Any]
) -> tuple[RunFolder, Recipe]:
    """The run to start from, and the recipe of its transfer.

    Without a recipe it is the run's own, with the default recipe's `fewshot` section if it has none. Without a run it
    is the default recipe, and the run is the one that training this recipe would make.

    Args:
        folder: the run, or None.
        recipe: a recipe's name or file, or None.
        overrides: `key=value` for the recipe.
        options: keys of `fewshot` given as options of their own; None where not given. Targets are names.

    Raises:
        InputError: the recipe is wrong, or an override that a transfer does not use.
    """
    for override in overrides:
        _check_used(override)
    if recipe is None and folder is not None:
        loaded = build_recipe(*override_values(*_protocol_of(RunFolder(folder)), overrides))
    else:
        loaded = load_recipe(recipe or DEFAULT_RECIPE, overrides)
    fewshot_section(loaded)
    if loaded.data.samples_per_task is not None:
        at = loaded.where("data.samples_per_task")
        raise InputError(f"{at}: data.samples_per_task: a transfer uses fewshot.sizes instead; leave it out")
    loaded = _with_options(loaded, options)
    target_tasks(loaded)  # names unknown tasks before anything is loaded
    return RunFolder(folder or Path(loaded.output_dir)), loaded


def _protocol_of(run: RunFolder) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a run's own recipe, as far as a transfer uses them, and where each came from."""
    values, origins = run.recipe().given()
    for key in ("sampling", "samples_per_task"):  # of the run's training, not of a transfer's
        values.get("data", {}).pop(key, None)
    if values.get("fewshot") is None:
        default, default_origins = load_recipe(DEFAULT_RECIPE).given()
        values["fewshot"] = default["fewshot"]
        origins |= {key: where for key, where in default_origins.items() if key.startswith("fewshot")}
    return values, origins


def _check_used(override: str) -> None:
    """Refuses an override that a transfer would not use."""
    key = override.partition("=")[0].strip()
    section, _, name = key.partition(".")
    if section == "fewshot" or name in _USED_KEYS.get(section, ()):
        return
    if section in _USED_KEYS and name in FewshotSection.model_fields:
        raise InputError(f"override '{override}': a transfer uses fewshot.{name}, not {key}")
    used = [f"{section}.{name}" for section, names in _USED_KEYS.items() for name in names]
    raise InputError(f"override '{override}': fewshot uses fewshot.* and {', '.join(used)} only; the rest is the run's")


def _with_options(recipe: Recipe, options: Mapping[str, Any]) -> Recipe:
    values, origins = recipe.given()
    entries = {entry_name(entry): entry for entry in values["fewshot"].get("target_tasks", [])}
    for key, value in options.items():
        if value is None:
            continue
        if key == "target_tasks":  # a name may be that of a definition in the recipe
            value = [entries.get(name, name) for name in value]
        option = "--shots" if key == "sizes" else f"--{key.replace('_', '-')}"
        set_value(values, origins, ["fewshot", key], value, option)
    return build_recipe(values, origins)


def plan(run: RunFolder, recipe: Recipe, output: Path, strict_shots: bool) -> dict[str, Any]:
    """What `run_fewshot` would do; sizes as in a training's plan. The run need not exist yet.

    Raises:
        InputError: as the transfer would, as far as this can be known without the run.
    """
    finished = check_settings(output, settings_of(recipe), {})
    settings, tasks = fewshot_section(recipe), target_tasks(recipe)
    trained = run.recipe() if run.recipe_file.is_file() else None
    check_are_new(tasks, trained.task_names if trained else ())
    if trained and trained.adapter.has_bank and not trained.adapter.shared_by_tasks and settings.init_from != AUTO:
        for task in tasks:
            starting_task(task, settings.init_from, trained.task_names)
    targets: dict[str, dict[str, Any]] = {}
    to_do = 0
    for task in tasks:
        available = split_size(recipe, task, "train")
        trials = trials_of(task, settings, available, strict_shots)
        to_do += sum(trial not in finished for trial in trials)
        targets[task.name] = {
            "train": available,
            "test": split_size(recipe, task, "test"),
            "shots": list(dict.fromkeys(trial.shots for trial in trials)),
            "cells": len(trials),
            "similar_to": task.similar_to,
        }
    return {
        "run": str(run.path),
        "run_exists": run.best.is_dir(),
        "recipe": recipe.name,
        "protocol": settings.model_dump(exclude={"target_tasks", "sizes"}),
        "sizes": sizes_are(recipe, tasks),
        "targets": targets,
        "cells": sum(target["cells"] for target in targets.values()),
        "cells_to_do": to_do,
    }
