"""The likelihood of each label text of a task."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.layouts import IGNORED_LABEL, Continuation, pad


def label_log_likelihoods(
    model: AdaptedModel,
    first_logits: Tensor,
    rows: Continuation,
    task_ids: Sequence[int],
    labels: Sequence[Sequence[Sequence[int]]],
    batch_size: int,
) -> list[list[float]]:
    """The log-likelihood of every label text of every row: the sum over its tokens, the end of sequence among them.

    What was read of a row is shared by all its labels, and with the decoding of its answer.

    Args:
        model: in evaluation mode.
        first_logits, rows: what the layout's `begin` returned; they are not changed.
        task_ids: (batch,).
        labels: each row's label texts as token ids with the end of sequence; a row may have none.
        batch_size: label texts, of any rows, at a time.

    Returns:
        For each row its labels' log-likelihoods, in nats.
    """
    owners = [row for row, own in enumerate(labels) for _ in own]
    texts = [ids for own in labels for ids in own]
    if not texts:
        return [[] for _ in labels]
    device = first_logits.device
    firsts = torch.tensor([owners, [ids[0] for ids in texts]], device=device)
    found = first_logits.float().log_softmax(dim=1)[firsts[0], firsts[1]]
    longer = [number for number, ids in enumerate(texts) if len(ids) > 1]
    for start in range(0, len(longer), batch_size):
        chosen = longer[start : start + batch_size]
        found[torch.tensor(chosen, device=device)] += _rest(
            model, rows, [owners[i] for i in chosen], task_ids, [texts[i] for i in chosen]
        )
    ends = iter(found.tolist())
    return [[next(ends) for _ in own] for own in labels]


def _rest(
    model: AdaptedModel,
    rows: Continuation,
    owners: Sequence[int],
    task_ids: Sequence[int],
    texts: Sequence[Sequence[int]],
) -> Tensor:
    """(texts,): the log-likelihood of each text behind its first token, after the row that owns it."""
    device = model.device
    read = pad([ids[:-1] for ids in texts], texts[0][0]).to(device)  # no text sees what fills it up behind its end
    targets = pad([ids[1:] for ids in texts], IGNORED_LABEL).to(device)
    with model.adapting([task_ids[row] for row in owners]):
        after = rows.select(torch.tensor(owners, device=device))
        logits, _ = model.family.layout.advance(model.backbone, after, read)
    losses = F.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED_LABEL, reduction="none"
    )
    return -losses.view(targets.shape).sum(dim=1)
