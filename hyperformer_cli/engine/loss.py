"""The training loss: token cross-entropy with label smoothing, summed as in the reference."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.layouts import IGNORED_LABEL


def batch_losses(
    model: AdaptedModel,
    batch: Mapping[str, Any],
    task_ids: Sequence[int],
    smoothing: float = 0.0,
    wrapped: nn.Module | None = None,
) -> Tensor:
    """Runs a batch and returns every row's loss, (batch,); see `label_smoothed_loss`.

    Args:
        model: knows the batch's layout.
        batch: with `labels`, on the model's device.
        task_ids: (batch,).
        smoothing: eps.
        wrapped: called in the model's place, such as the model in DDP.
    """
    inputs = model.family.layout.forward_inputs(model.backbone, batch)
    called = model if wrapped is None else wrapped  # a module with a length may have no truth value
    logits = called(**inputs, task_ids=task_ids, use_cache=False).logits
    return label_smoothed_loss(logits, batch["labels"], smoothing)


def label_smoothed_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """(1 - eps) * sum(nll) + eps / V * sum(-log p) over the tokens of each row whose label is not -100.

    Args:
        logits: (batch, length, V).
        labels: (batch, length), padded with -100.
        smoothing: eps.

    Returns:
        (batch,): sums over tokens, not means. The reference's loss is the sum of them.
    """
    losses = F.cross_entropy(
        logits.float().flatten(0, 1),
        labels.flatten(),
        ignore_index=IGNORED_LABEL,
        reduction="none",
        label_smoothing=smoothing,
    )
    return losses.view(labels.shape).sum(dim=1)
