"""A run's model and tokenizer; `OpenedRun` is the way to get them."""

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.opened import OpenedRun


def load_trained_run(
    run: RunFolder, weights: str = "best", backbone: Path | None = None
) -> tuple[AdaptedModel, PreTrainedTokenizerBase]:
    """The model and the tokenizer of an `OpenedRun`."""
    opened = OpenedRun(run.path, weights, backbone)
    return opened.model, opened.tokenizer
