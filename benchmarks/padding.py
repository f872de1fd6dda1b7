"""Steps with micro-batches cut by length beside micro-batches cut as drawn: the same steps, less padding.

Both cuts take the same steps in turn (`--recipe`, by default the quickstart, `--set` changes it; real GLUE is
`--recipe glue_hyperpp_small --set data.source=FOLDER model.init=random`). Padding on several processes needs no
processes: what four would compute is counted, over 300 steps.
"""

import time

import numpy as np

from benchmarks.timing import Parts, Row, Settings, in_turn, median, ratio
from hyperformer_cli.config.loading import build_recipe, load_recipe
from hyperformer_cli.data.micro_batches import TokenCeiling, cut_as_drawn, cut_by_length, deal, padded_tokens
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.step import OVERHEAD_TOKENS, LossFunction, OptimizerStep
from hyperformer_cli.training.setup import Setup, prepare

TITLE = "Padding"
COLUMNS = {
    "cut": "micro-batches cut", "one": "padded over real tokens, 1 process", "four": "4 processes",
    "examples": "examples/s", "ratio": "step, of as drawn", "spread": "middle half",
}  # fmt: skip
CUTS = {"as drawn": "rows", "by length": "tokens"}


def measure(settings: Settings) -> list[Row]:
    recipe = load_recipe(settings.recipe, settings.changes)
    setup = prepare(recipe, make_accelerator(recipe.training))
    counted = {
        world: padding(setup, recipe.training.micro_batch_size, world, 3 if settings.tiny else 300) for world in (1, 4)
    }
    ways = {name: _Steps(setup, recipe.as_dict(), cut) for name, cut in CUTS.items()}
    taken = in_turn(ways, settings.rounds)
    return [
        {
            "cut": name, "one": counted[1][name], "four": counted[4][name],
            "examples": recipe.training.batch_size / median(rounds),
        }
        | ratio(rounds, taken["as drawn"])
        for name, rounds in taken.items()
    ]  # fmt: skip


class _Steps:
    """Steps with one cut: call it for the next."""

    def __init__(self, setup: Setup, values: dict, cut: str):
        recipe = build_recipe({**values, "training": {**values["training"], "micro_batching": cut}})
        pad_id = setup.tokenization.encoding.pad_id
        loss_function = LossFunction(setup.model, setup.wrapped_model, pad_id, setup.accelerator)
        splits = {number: setup.data["train"][task.name] for number, task in enumerate(setup.tasks)}
        self._step = OptimizerStep(loss_function, splits, setup.optimizer, setup.schedule, recipe)
        self._sampler, self._number = setup.sampler, 0

    def __call__(self) -> Parts:
        start = time.process_time()
        self._step(self._step.prepare(self._sampler.batch(self._number)))
        self._number += 1
        return {"total": time.process_time() - start}


def padding(setup: Setup, rows: int, world: int, steps: int) -> dict[str, float]:
    """Padded over real tokens of the inputs, by cut."""
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
    return {"by length": by_length / real, "as drawn": as_drawn / real}
