"""The protocol of few-shot transfer (paper, Section 4.2): which tasks, how many examples, and where a task starts."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from hyperformer_cli.config.section import Positive, Section
from hyperformer_cli.config.task_entries import TaskEntry

PAPER, AUTO, RANDOM = "paper", "auto", "random"


class FewshotSection(Section):
    """Transfer of a trained run to tasks it has not seen.

    Of `sizes` above a task's training set, one remains: all of it (the paper's 250 for CB). `init_from` is the trained
    task that a new one starts from: `paper` (each task's `similar_to`), `auto` (the lowest loss on the new task's
    validation examples), `random`, or a task's name. What is not said here, such as the label smoothing, the clipping
    and the precision, is as in `training`.
    """

    target_tasks: list[TaskEntry] = Field([])
    sizes: list[Positive] = Field([4, 16, 32, 100, 500, 1000, 2000], min_length=1)
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field([1, 2, 3, 4, 5], min_length=1)
    init_from: str = Field(PAPER, min_length=1)
    train: Literal["all", "task-embedding"] = "all"
    max_steps: Positive = 500
    batch_size: Positive = 32
    learning_rate: float = Field(3e-4, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_steps: int = Field(0, ge=0)

    @field_validator("sizes", "seeds")
    @classmethod
    def _stand_once(cls, values: list[int]) -> list[int]:
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"{twice[0]} stands twice")
        return values
