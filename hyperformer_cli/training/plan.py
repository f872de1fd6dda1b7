"""What a recipe would do, without doing it: `--dry-run`."""

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedConfig

from hyperformer_cli.adapters.counting import count_adapted
from hyperformer_cli.backbones.configuration import backbone_config
from hyperformer_cli.backbones.families import family_of
from hyperformer_cli.backbones.family import Family
from hyperformer_cli.backbones.hub import is_folder
from hyperformer_cli.backbones.sharding import held_fraction
from hyperformer_cli.bundled import folder_of
from hyperformer_cli.config.cells import part_recipes
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.data.loading import check_texts, checked_tokenizer, load_tokenizer, tokenization
from hyperformer_cli.data.report import KnownRows, TaskReport, report_on_rows
from hyperformer_cli.data.sizes import sizes_are, split_size
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.engine.devices import check_trackers
from hyperformer_cli.errors import InputError
from hyperformer_cli.schema.section import SPLITS
from hyperformer_cli.tasks.metrics import check_libraries
from hyperformer_cli.tasks.task import Task
from hyperformer_cli.training.setup import check_batch, make_sampler

_FLOAT32, _BFLOAT16 = 4, 2


def plan(recipe: Recipe, processes: int = 1, known: dict[str, KnownRows] | None = None) -> dict[str, Any]:
    """Resolves a recipe for so many processes: splits and their sizes, steps, parameters, an estimate of memory.

    The rows of folders are read and counted; for data on the hub the published sizes are used (`declared`). A model
    or tokenizer on the hub is not looked at, unless it is on this machine. Every task whose rows are counted gets
    a report on them; what it says of tokens needs the tokenizer. `known` holds the rows that plans of other cells of a
    sweep have examined, by the tokenizer, and gets those of this one.

    Raises:
        InputError: as training would.
    """
    check_batch(recipe, processes)
    check_trackers(recipe.training.report_to)
    _check_output(Path(recipe.output_dir))
    tasks = recipe_tasks(recipe)
    check_libraries(metric for task in tasks for metric in task.metrics)
    _check_weights(recipe)
    shape = backbone_config(recipe.model.name, recipe.model.config, recipe.model.revision)
    text_to_ids = _tokenization_at_hand(recipe, family_of(shape))
    if text_to_ids is not None:
        check_texts(tasks, text_to_ids)
    reports: dict[str, TaskReport] = {}
    prefix = recipe.adapter.needs_task_prefix
    tokens = json.dumps([prefix, recipe.model.model_dump(), recipe.data.prompt])
    examined = None if known is None else known.setdefault(tokens, {})
    for task in tasks:
        if sizes_are(recipe, [task]) == "counted":
            reports[task.name] = report_on_rows(task, recipe.data, recipe.seed, prefix, text_to_ids, known=examined)
    sizes = {task.name: _sizes(recipe, task, reports.get(task.name)) for task in tasks}
    runs = list(part_recipes(recipe).values())
    shares: list[float] = []
    for run in runs:
        training = [sizes[name]["train"] for name in run.task_names]
        sampler = make_sampler(recipe, training)  # says what is wrong with the batch
        shares += list(sampler.distribution / len(runs))
    examples = len(runs) * recipe.training.max_steps * recipe.training.batch_size
    parameters = count_adapted(shape, runs[0].adapter).as_dict()
    return {
        "name": recipe.name,
        "method": recipe.adapter.method,
        "output_dir": recipe.output_dir,
        "sizes": sizes_are(recipe, tasks),
        "tasks": {
            name: {**own, "share_of_steps": round(float(share), 4)}
            for (name, own), share in zip(sizes.items(), shares, strict=True)
        },
        "runs": len(runs),
        "steps": len(runs) * recipe.training.max_steps,
        "examples": examples,
        "epochs": round(examples / sum(own["train"] for own in sizes.values()), 2),
        "parameters": parameters,
        "data": {name: report.as_dict() for name, report in reports.items()},
        "memory_gib_estimate": round(_bytes(recipe, shape, parameters, processes) / 2**30, 2),
        "all_reduced_bytes_per_step": _FLOAT32 * parameters["trained"] if processes > 1 else 0,
    }


def _sizes(recipe: Recipe, task: Task, report: TaskReport | None) -> dict[str, int]:
    if report is None:
        return {split: split_size(recipe, task, split) for split in SPLITS}
    return {split: found.rows for split, found in report.splits.items()}


def _tokenization_at_hand(recipe: Recipe, family: Family) -> Tokenization | None:
    """With the tokenizer of a folder, or of the hub's cache; None if it is not on this machine.

    Raises:
        InputError: a folder without the tokenizer that training would load.
    """
    named = recipe.model.tokenizer or recipe.model.name
    if named is not None and is_folder(named):
        return tokenization(recipe, load_tokenizer(recipe), family.layout)
    revision = "main" if recipe.model.tokenizer else recipe.model.revision
    try:
        tokenizer = AutoTokenizer.from_pretrained(named, revision=revision, local_files_only=True)
    except Exception:  # OSError, ValueError, and what the tokenizers library raises of its own
        return None
    where = f"{recipe.where('model.tokenizer')}: tokenizer '{named}'"
    return tokenization(recipe, checked_tokenizer(tokenizer, where), family.layout)


def _check_weights(recipe: Recipe) -> None:
    """Refuses a folder without the weights that training would load."""
    name = recipe.model.name
    if name is None or recipe.model.init == "random" or not is_folder(name):
        return
    folder = Path(folder_of(name))
    if not any(file.suffix in (".safetensors", ".bin") for file in folder.iterdir()):
        raise InputError(f"{recipe.where('model.name')}: model.name: {folder} holds no weights")


def _check_output(folder: Path) -> None:
    """Refuses a folder that cannot be made because a file is in its path; what is not mounted here may be elsewhere."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"output_dir {folder}: cannot be written: {nearest} is not a folder")


def _bytes(recipe: Recipe, shape: PreTrainedConfig, parameters: dict[str, Any], processes: int) -> int:
    """Weights, gradients and Adam's moments exactly; activations of a full-length micro-batch roughly.

    A layer keeps about 16 vectors of the hidden size and 3 of the feed-forward size per token, and 3 attention maps.
    Logits are computed for targets only.
    """
    frozen = parameters["total"] - parameters["trained"]
    if recipe.training.shard_backbone and processes > 1:
        frozen = round(frozen * held_fraction(shape, processes))
    weights = frozen * (_BFLOAT16 if recipe.model.dtype == "bfloat16" else _FLOAT32) + parameters["trained"] * _FLOAT32
    optimizer = 3 * _FLOAT32 * parameters["trained"]
    activation = _BFLOAT16 if recipe.training.precision == "bfloat16" else _FLOAT32
    rows, data = recipe.training.micro_batch_size, recipe.data
    source, target = data.max_source_length, data.max_target_length
    family = family_of(shape)
    kept = 0
    for stack, (length, attended) in family.layout.stack_lengths(source, target).items():
        width, inner = family.hidden_size(shape, stack), family.feed_forward_size(shape, stack)
        per_token = 16 * width + 3 * inner + 3 * family.head_count(shape, stack) * attended
        kept += rows * length * per_token * (1 if recipe.model.gradient_checkpointing else family.depth(shape, stack))
    logits = 3 * rows * target * family.vocabulary_size(shape) * _FLOAT32
    return weights + optimizer + kept * activation + logits
