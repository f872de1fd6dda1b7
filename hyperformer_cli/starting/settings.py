"""Training settings to start from: how long, how fast, in which batches."""

from collections.abc import Sequence
from dataclasses import dataclass

from hyperformer_cli.bundled import BUNDLED
from hyperformer_cli.data.sampling import task_distribution

TEMPERATURE = 10.0
BATCH = 32
_PASSES = 10  # over the new task's rows
_FEWEST_STEPS, _MOST_STEPS = 600, 20_000


@dataclass(frozen=True)
class Settings:
    """What a starting recipe says under `adapter` and `training`."""

    reduction_factor: int
    learning_rate: float
    max_steps: int
    warmup_steps: int
    micro_batch_size: int
    every: int


def starting_settings(model: str, rows: Sequence[int], length: int) -> Settings:
    """Settings for a model and tasks with so many training rows, the new one first, and inputs of so many tokens.

    The steps give the new task ten passes over its rows, whatever trains beside it.
    """
    share = float(task_distribution(rows, TEMPERATURE)[0])
    steps = min(max(_PASSES * rows[0] / BATCH / share, _FEWEST_STEPS), _MOST_STEPS)
    steps = round(steps, -2)
    every = max(100, round(steps / 8, -2))
    is_nano = model == BUNDLED
    return Settings(
        reduction_factor=4 if is_nano else 16,
        learning_rate=1e-3 if is_nano else 3e-4,
        max_steps=int(steps),
        warmup_steps=int(max(30, round(steps * 0.05))),
        micro_batch_size=BATCH if length <= 128 else BATCH // 2 if length <= 256 else BATCH // 4,
        every=int(every),
    )
