"""Training settings to start from: how long, how fast, in which batches."""

from collections.abc import Sequence
from dataclasses import dataclass

from hyperformer_cli.bundled import BUNDLED
from hyperformer_cli.data.sampling import task_distribution

TEMPERATURE = 10.0
BATCH = 32
_PASSES = 10  # over the new task's rows
_FEWEST_UPDATES = 500  # batches' worth of its examples: with fewer the bundled model stays near the majority
_MOST_STEPS = 20_000
_OWN_SHARE = 0.5  # of the examples, where a recipe can say so


@dataclass(frozen=True)
class Settings:
    """What a starting recipe says under `adapter`, `data` and `training`.

    `own_share` is the new task's probability of being drawn; None leaves it to the temperature.
    """

    reduction_factor: int
    learning_rate: float
    max_steps: int
    warmup_steps: int
    micro_batch_size: int
    every: int
    own_share: float | None


def starting_settings(model: str, rows: Sequence[int], length: int) -> Settings:
    """Settings for a model and tasks with so many training rows, the new one first, and inputs of so many tokens.

    The steps give the new task ten passes over its rows, and 500 batches' worth or more, whatever trains beside it.
    """
    own_share = _OWN_SHARE if len(rows) > 1 else None
    share = own_share or float(task_distribution(rows, TEMPERATURE)[0])
    updates = max(_PASSES * rows[0] / BATCH, _FEWEST_UPDATES)
    steps = min(-(-round(updates / share) // 100) * 100, _MOST_STEPS)
    is_nano = model == BUNDLED
    return Settings(
        reduction_factor=4 if is_nano else 16,
        learning_rate=1e-3 if is_nano else 3e-4,
        max_steps=steps,
        warmup_steps=max(30, steps // 20),
        micro_batch_size=BATCH if length <= 128 else BATCH // 2 if length <= 256 else BATCH // 4,
        every=max(100, round(steps / 5 / 100) * 100),
        own_share=own_share,
    )
