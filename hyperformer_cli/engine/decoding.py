"""Predictions of one task's split: generated, as text."""

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers import PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.data.tokenization import TokenizedSplit


def generate_predictions(
    model: AdaptedModel,
    task: str,
    split: TokenizedSplit,
    tokenizer: PreTrainedTokenizerBase,
    accelerator: Accelerator,
    *,
    batch_size: int,
    num_beams: int,
    max_new_tokens: int,
    after_batch: Callable[[int], None] = lambda examples: None,
) -> list[str]:
    """Generates a text for every example of a split.

    Examples are sharded over the processes by number, so none is doubled or dropped, and batched by length.

    Args:
        model: unwrapped, in evaluation mode; best within `frozen_adapters()`.
        task: its name.
        split: the examples.
        tokenizer: the model's.
        accelerator: gives device, precision and processes.
        batch_size: examples a process decodes at a time.
        num_beams: 1 is greedy.
        max_new_tokens: length of the longest prediction.
        after_batch: called with the number of examples done.

    Returns:
        The texts in the split's order, on every process.
    """
    mine = np.arange(accelerator.process_index, len(split), accelerator.num_processes)
    mine = mine[np.argsort(-split.input_lengths()[mine], kind="stable")]
    texts: list[tuple[int, str]] = []
    layout = model.family.layout
    for start in range(0, len(mine), batch_size):
        numbers = mine[start : start + batch_size].tolist()
        batch = layout.generation_batch([split.input_ids(number) for number in numbers], tokenizer.pad_token_id)
        batch = {name: tensor.to(accelerator.device) for name, tensor in batch.items()}
        with torch.inference_mode(), accelerator.autocast():
            ids = model.generate(
                **batch, task=task, num_beams=num_beams, max_new_tokens=max_new_tokens, do_sample=False
            )
        answers = tokenizer.batch_decode(layout.generated(ids, batch), skip_special_tokens=True)
        texts += zip(numbers, answers, strict=True)
        after_batch(len(numbers))
    if accelerator.num_processes > 1:
        texts = gather_object(texts)
    return [text for _, text in sorted(texts)]
