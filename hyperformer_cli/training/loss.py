"""The training loss: token cross-entropy with label smoothing, summed as in the reference."""

from torch import Tensor
from torch.nn import functional as F

IGNORED_LABEL = -100


def label_smoothed_sum(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """(1 - eps) * sum(nll) + eps / V * sum(-log p) over the tokens whose label is not -100.

    Args:
        logits: (batch, length, V).
        labels: (batch, length), padded with -100.
        smoothing: eps.

    Returns:
        A scalar: the sum over tokens, not the mean, as the reference does.
    """
    kept = labels != IGNORED_LABEL
    log_probabilities = F.log_softmax(logits[kept].float(), dim=-1)
    nll = -log_probabilities.gather(-1, labels[kept].unsqueeze(-1)).sum()
    if smoothing == 0:
        return nll
    return (1 - smoothing) * nll - smoothing / logits.shape[-1] * log_probabilities.sum()
