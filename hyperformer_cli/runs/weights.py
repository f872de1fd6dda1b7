"""`best/` and `last/`: the trained weights with their tokenizer, and a manifest over all of it."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hyperformer_cli.storage.atomic import writing
from hyperformer_cli.storage.manifest import write_manifest
from hyperformer_cli.storage.trained import Description, write_trained


def write_weights(
    folder: Path, description: Description, tensors: Mapping[str, Tensor], tokenizer: PreTrainedTokenizerBase
) -> None:
    """Writes what `OpenedRun` reads, the manifest last.

    Raises:
        WriteError: the disk is full.
    """
    write_trained(folder, description, tensors)
    with writing(folder):
        tokenizer.save_pretrained(folder)
    write_manifest(folder)
