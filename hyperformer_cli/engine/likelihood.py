"""The likelihood of each label text of a task."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.layouts import IGNORED_LABEL, pad
from hyperformer_cli.engine.loss import batch_losses


def label_log_likelihoods(
    model: AdaptedModel,
    read: Mapping[str, Any],
    task_ids: Sequence[int],
    labels: Sequence[Sequence[Sequence[int]]],
    batch_size: int,
) -> list[list[float]]:
    """The log-likelihood of every label text of every row: the sum over its tokens, the end of sequence among them.

    Args:
        model: in evaluation mode.
        read: what the layout's `read` returned for the rows.
        task_ids: (batch,).
        labels: each row's label texts as token ids with the end of sequence; a row may have none.
        batch_size: label texts, of any rows, at a time.

    Returns:
        For each row its labels' log-likelihoods, in nats.
    """
    owners = [row for row, own in enumerate(labels) for _ in own]
    texts = [ids for own in labels for ids in own]
    found: list[float] = []
    for start in range(0, len(texts), batch_size):
        chosen = owners[start : start + batch_size]
        targets = pad(texts[start : start + batch_size], IGNORED_LABEL).to(model.device)
        batch = model.family.layout.continued(read, torch.tensor(chosen, device=model.device), targets)
        found += (-batch_losses(model, batch, [task_ids[row] for row in chosen])).tolist()
    ends = iter(found)
    return [[next(ends) for _ in own] for own in labels]
