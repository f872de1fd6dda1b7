"""What a model answered to a row: a text that it wrote, or the label text that it finds likeliest."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from hyperformer_cli.tasks.task import Task


class Answer(NamedTuple):
    """The answer to one row; the log-likelihoods of its task's label texts, in nats, where they were asked for."""

    text: str
    log_likelihoods: Sequence[float] = ()


def likeliest(task: Task, log_likelihoods: Sequence[float]) -> str:
    """The label text with the highest likelihood; the first of equal ones."""
    return task.label_texts[int(np.argmax(log_likelihoods))]


def label_scores(task: Task, log_likelihoods: Sequence[float]) -> dict[str, float | None]:
    """The labels' shares of the probability of all labels, by name; None where the model gives none."""
    shares = softmax(log_likelihoods).tolist()
    rounded = [round(share, 4) if math.isfinite(share) else None for share in shares]  # JSON has no NaN
    return dict(zip(task.label_names, rounded, strict=True))
