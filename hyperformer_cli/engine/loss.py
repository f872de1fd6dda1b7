"""The training loss: token cross-entropy with label smoothing, summed as in the reference."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from hyperformer_cli.data.collation import IGNORED_LABEL


def batch_losses(model: nn.Module, backbone: nn.Module, batch: Mapping[str, Tensor], smoothing: float) -> Tensor:
    """Runs a collated batch and returns every row's loss, (batch,), see `label_smoothed_loss`.

    Args:
        model: an `AdaptedModel`, wrapped or not.
        backbone: its backbone, which knows how decoder inputs follow from labels.
        batch: `input_ids`, `attention_mask`, `labels` on the model's device, and `task_ids`.
        smoothing: eps.
    """
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=backbone.prepare_decoder_input_ids_from_labels(batch["labels"]),
        task_ids=batch["task_ids"].tolist(),
        use_cache=False,
    ).logits
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
