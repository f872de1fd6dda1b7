"""What a recipe would do, without doing it: `--dry-run`."""

from typing import Any

from transformers import PreTrainedConfig

from hyperformer_cli.adapters.counting import count_adapted
from hyperformer_cli.backbones.source import backbone_config
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.data.declared import recipe_tasks
from hyperformer_cli.data.sampling import task_distribution
from hyperformer_cli.data.sizes import sizes_are, split_size
from hyperformer_cli.data.tasks import SPLITS
from hyperformer_cli.training.setup import check_batch, make_sampler
from hyperformer_cli.training.train_recipe import single_task_recipe

_FLOAT32, _BFLOAT16 = 4, 2


def plan(recipe: Recipe, processes: int = 1) -> dict[str, Any]:
    """Resolves a recipe for so many processes: splits and their sizes, steps, parameters, an estimate of memory.

    Folders are counted; the hub is not asked, sizes are then the published ones (`declared`).

    Raises:
        InputError: as training would.
    """
    check_batch(recipe, processes)
    tasks = recipe_tasks(recipe)
    sizes = {task.name: {split: split_size(recipe, task, split) for split in SPLITS} for task in tasks}
    training = [sizes[task.name]["train"] for task in tasks]
    make_sampler(recipe, training)  # says what is wrong with the batch
    runs = 1 if recipe.joint else len(tasks)
    shares = task_distribution(training, recipe.data.sampling.temperature) if recipe.joint else [1 / runs] * runs
    steps = runs * recipe.training.max_steps
    shape = backbone_config(recipe.model.name, recipe.model.config, recipe.model.revision)
    adapter = recipe.adapter if recipe.joint else single_task_recipe(recipe, recipe.task_names[0]).adapter
    parameters = count_adapted(shape, adapter).as_dict()
    return {
        "name": recipe.name,
        "method": recipe.adapter.method,
        "output_dir": recipe.output_dir,
        "sizes": sizes_are(recipe, tasks),
        "tasks": {
            task.name: {**sizes[task.name], "share_of_steps": round(float(share), 4)}
            for task, share in zip(tasks, shares, strict=True)
        },
        "runs": runs,
        "steps": steps,
        "examples": steps * recipe.training.batch_size,
        "epochs": round(steps * recipe.training.batch_size / sum(training), 2),
        "parameters": parameters,
        "memory_gib_estimate": round(_bytes(recipe, shape, parameters) / 2**30, 2),
    }


def _bytes(recipe: Recipe, shape: PreTrainedConfig, parameters: dict[str, Any]) -> int:
    """Weights, gradients and Adam's moments exactly; activations of a full-length micro-batch roughly.

    A layer keeps about 16 vectors of the hidden size and 3 of the feed-forward size a token, and 3 attention maps.
    """
    frozen = parameters["total"] - parameters["trained"]
    weights = frozen * (_BFLOAT16 if recipe.model.dtype == "bfloat16" else _FLOAT32) + parameters["trained"] * _FLOAT32
    optimizer = 3 * _FLOAT32 * parameters["trained"]
    activation = _BFLOAT16 if recipe.training.precision == "bfloat16" else _FLOAT32
    rows, source, target = (
        recipe.training.micro_batch_size,
        recipe.data.max_source_length,
        recipe.data.max_target_length,
    )
    kept = 0
    for layers, length, attended in (
        (shape.num_layers, source, source),
        (shape.num_decoder_layers, target, target + source),
    ):
        per_token = 16 * shape.d_model + 3 * shape.d_ff + 3 * shape.num_heads * attended
        kept += rows * length * per_token * (1 if recipe.model.gradient_checkpointing else layers)
    logits = 3 * rows * target * shape.vocab_size * _FLOAT32
    return weights + optimizer + kept * activation + logits
