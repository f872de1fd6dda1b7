"""From examples to the padded tensors of a micro-batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hyperformer_cli.data.sampling import Example
from hyperformer_cli.data.tokenization import TokenizedSplit

IGNORED_LABEL = -100


def collate(examples: Sequence[Example], splits: Sequence[TokenizedSplit], pad_id: int) -> dict[str, Tensor]:
    """Pads inputs and targets to the longest of the micro-batch.

    Args:
        examples: (task id, row) pairs.
        splits: the split of every task, by id.
        pad_id: the tokenizer's.

    Returns:
        `input_ids` and `attention_mask` (batch, source length), `labels` (batch, target length) padded with -100,
        and `task_ids` (batch,).
    """
    inputs = [splits[task].input_ids(row) for task, row in examples]
    input_ids, lengths = pad(inputs, pad_id), torch.tensor([len(ids) for ids in inputs])
    return {
        "input_ids": input_ids,
        "attention_mask": (torch.arange(input_ids.shape[1]) < lengths.unsqueeze(1)).long(),
        "labels": pad([splits[task].target_ids(row) for task, row in examples], IGNORED_LABEL),
        "task_ids": torch.tensor([task for task, _ in examples]),
    }


def pad(sequences: Sequence[np.ndarray], value: int) -> Tensor:
    """(sequences, longest), int64, filled up on the right."""
    padded = np.full((len(sequences), max(map(len, sequences))), value, dtype=np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(padded)
