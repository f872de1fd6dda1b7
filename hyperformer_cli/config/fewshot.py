"""The protocol of few-shot transfer (paper, Section 4.2): which tasks, how many examples, and where a task starts."""

from typing import Annotated, Literal

from pydantic import Field

from hyperformer_cli.config.task_entries import TaskEntry
from hyperformer_cli.schema.section import LARGEST, Distinct, Positive, Section

Seed = Annotated[int, Field(ge=0, lt=2**32)]
PAPER, AUTO, RANDOM = "paper", "auto", "random"


class FewshotSection(Section):
    """Transfer of a trained run to tasks it has not seen (paper, Section 4.2).

    Everything else, such as label smoothing, clipping and precision, is taken from `training`; but for `replicas`, as a
    transfer's batch is that of one.

    Attributes:
        target_tasks: names of shipped tasks, definitions, or paths of YAML files with one.
        sizes: numbers of training examples. Those above a task's training set are replaced by one: all of it (the
            paper's 250 for CB).
        seeds: each one draws other examples; figures are mean and standard deviation over them.
        init_from: the trained task that a new one starts from: `paper` (each task's `similar_to`), `auto` (the lowest
            loss on the new task's validation examples), `random`, or a task's name.
        train: `all` that the run trained, or `task-embedding`: only the new task's vector.
        max_steps: optimizer steps of each transfer. The paper does not say how many.
        batch_size: examples per optimizer step.
        learning_rate: the highest rate, reached after the warm-up.
        schedule: how the learning rate falls after the warm-up: `linear` or `cosine` to 0, or `constant`.
        warmup_steps: steps in which the learning rate rises linearly from 0.
    """

    target_tasks: list[TaskEntry] = Field(default=[])
    sizes: Annotated[list[Positive], Distinct] = Field(default=[4, 16, 32, 100, 500, 1000, 2000], min_length=1)
    seeds: Annotated[list[Seed], Distinct] = Field(default=[1, 2, 3, 4, 5], min_length=1)
    init_from: str = Field(default=PAPER, min_length=1)
    train: Literal["all", "task-embedding"] = "all"
    max_steps: Positive = 500
    batch_size: Positive = 32
    learning_rate: float = Field(default=3e-4, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_steps: int = Field(default=0, ge=0, le=LARGEST)
