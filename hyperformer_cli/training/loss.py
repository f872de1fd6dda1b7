"""The training loss: token cross-entropy with label smoothing, summed as in the reference."""

from torch import Tensor
from torch.nn import functional as F

from hyperformer_cli.data.collation import IGNORED_LABEL


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
