"""From examples to the tensors of a micro-batch."""

from collections.abc import Sequence

from torch import Tensor

from hyperformer_cli.backbones.layouts import EncoderDecoderLayout
from hyperformer_cli.data.sampling import Example
from hyperformer_cli.data.tokenization import TokenizedSplit


def collate(
    examples: Sequence[Example], splits: Sequence[TokenizedSplit], layout: EncoderDecoderLayout, pad_id: int
) -> dict[str, Tensor]:
    """The inputs and targets of examples as a batch of the backbone family's layout, with `labels`.

    Args:
        examples: (task id, row) pairs.
        splits: the split of every task, by id.
        layout: the family's.
        pad_id: the tokenizer's.
    """
    inputs = [splits[task].input_ids(row) for task, row in examples]
    return layout.training_batch(inputs, [splits[task].target_ids(row) for task, row in examples], pad_id)
