"""How likely the model finds each label text of a task."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.data.collation import IGNORED_LABEL, pad


def label_log_likelihoods(
    model: AdaptedModel,
    hidden: Tensor,
    attention_mask: Tensor,
    task_ids: Sequence[int],
    labels: Sequence[Sequence[Sequence[int]]],
    batch_size: int,
) -> list[list[float]]:
    """The log-likelihood of every label text of every row: the sum over its tokens, the end of sequence among them.

    All labels of all rows go through the decoder together, as many at a time as the batch size, over the encoder's
    output of their row.

    Args:
        model: in evaluation mode.
        hidden: (batch, length, hidden), the encoder's output.
        attention_mask: (batch, length).
        task_ids: (batch,).
        labels: each row's label texts as token ids with the end of sequence; a row may have none.
        batch_size: decoder rows at a time.

    Returns:
        For each row its labels' log-likelihoods, in nats.
    """
    owners = [row for row, own in enumerate(labels) for _ in own]
    texts = [ids for own in labels for ids in own]
    found: list[float] = []
    for start in range(0, len(texts), batch_size):
        chosen = owners[start : start + batch_size]
        rows = torch.tensor(chosen, device=hidden.device)
        targets = pad(texts[start : start + batch_size], IGNORED_LABEL).to(hidden.device)
        logits = model(
            encoder_outputs=(hidden[rows],),
            attention_mask=attention_mask[rows],
            decoder_input_ids=model.backbone.prepare_decoder_input_ids_from_labels(targets),
            task_ids=[task_ids[row] for row in chosen],
            use_cache=False,
        ).logits
        # Zero where a shorter text is padded.
        losses = nn.functional.cross_entropy(
            logits.float().transpose(1, 2), targets, ignore_index=IGNORED_LABEL, reduction="none"
        )
        found += (-losses.sum(dim=1)).tolist()
    ends = iter(found)
    return [[next(ends) for _ in own] for own in labels]
