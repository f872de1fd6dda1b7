"""Training steps with micro-batches cut by length beside micro-batches cut as drawn: the same steps, less padding.

    python benchmarks/micro_batching.py quickstart
    python benchmarks/micro_batching.py glue_hyperpp_small data.source=my/glue model.init=random --steps 9

The two cuts take turns, step by step, on the same examples; weights are random where the recipe says so. Padding on
several processes needs no processes: `--world 4` counts what four would compute.
"""

import argparse
import statistics
import time

import numpy as np

from hyperformer_cli.config.loading import build_recipe, load_recipe
from hyperformer_cli.data.micro_batches import TokenCeiling, cut_as_drawn, cut_by_length, deal, padded_tokens
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.step import OVERHEAD_TOKENS, LossFunction, OptimizerStep
from hyperformer_cli.training.setup import Setup, prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--world", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.changes)
    setup = prepare(recipe, make_accelerator(recipe.training))
    for world in options.world:
        by_length, as_drawn = padding(setup, recipe.training.micro_batch_size, world, steps=300)
        print(f"padded over real tokens, {world} processes: by length {by_length:.2f}, as drawn {as_drawn:.2f}")
    seconds: dict[str, list[float]] = {"tokens": [], "rows": []}
    makers = {cut: step_maker(setup, recipe.as_dict(), cut) for cut in seconds}
    for step in range(options.steps + 1):
        for cut, make_step in makers.items():
            start = time.perf_counter()
            make_step(make_step.prepare(setup.sampler.batch(step)))
            seconds[cut].append(time.perf_counter() - start)
    size = recipe.training.batch_size
    tokens, rows = (size * options.steps / sum(taken[1:]) for taken in seconds.values())
    ratios = [b / a for a, b in zip(seconds["tokens"][1:], seconds["rows"][1:], strict=True)]
    print(f"examples/s: by length {tokens:.1f}, as drawn {rows:.1f}: {tokens / rows:.2f} times as many")
    print(
        f"median over {options.steps} steps of a step's time as drawn over by length: {statistics.median(ratios):.2f}"
    )


def step_maker(setup: Setup, values: dict, cut: str) -> OptimizerStep:
    recipe = build_recipe({**values, "training": {**values["training"], "micro_batching": cut}})
    pad_id = setup.tokenization.encoding.pad_id
    loss_function = LossFunction(setup.model, setup.wrapped_model, pad_id, setup.accelerator)
    splits = {number: setup.data["train"][task.name] for number, task in enumerate(setup.tasks)}
    return OptimizerStep(loss_function, splits, setup.optimizer, setup.schedule, recipe)


def padding(setup: Setup, rows: int, world: int, steps: int) -> tuple[float, float]:
    """Padded over real tokens of the inputs, cut by length and as drawn."""
    splits = [setup.data["train"][task.name] for task in setup.tasks]
    limit = setup.tokenization.max_source_length
    ceiling = TokenCeiling(rows * limit, rows * setup.tokenization.max_target_length)
    real = by_length = as_drawn = 0
    for step in range(steps):
        batch = setup.sampler.batch(step)
        inputs = np.array([len(splits[task].input_ids(row)) for task, row in batch])
        targets = np.array([len(splits[task].target_ids(row)) for task, row in batch])
        dealt = deal(inputs, world)
        parts = cut_by_length(inputs[dealt].max(axis=1), targets[dealt].max(axis=1), ceiling, OVERHEAD_TOKENS["cpu"])
        real += int(inputs.sum())
        by_length += sum(padded_tokens([dealt[part, rank] for part in parts], inputs) for rank in range(world))
        as_drawn += padded_tokens(cut_as_drawn(len(batch), min(rows, len(batch) // world)), inputs)
    return by_length / real, as_drawn / real


if __name__ == "__main__":
    main()
