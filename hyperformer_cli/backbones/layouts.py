"""How a batch is laid out for a kind of model: inputs and targets to tensors, and what was generated to new tokens.

A layout is asked for

    training_batch      token ids of inputs and targets -> padded tensors with `labels`
    forward_inputs      such a batch -> the model's keyword arguments
    aligned             logits and labels -> logits and labels position by position
    generation_batch    token ids of inputs -> the arguments of `generate`
    generation_options  what replaces or completes the arguments of `generate`
    generated           what `generate` returned -> the new tokens
    read                one pass over the inputs that generation and the scoring of labels share
    continued           a batch that scores targets after some of the rows that were read
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

IGNORED_LABEL = -100

Ids = Sequence[int] | np.ndarray


class Encodes(Protocol):
    """What `read` needs of a model: `AdaptedModel.encode`."""

    def encode(self, **inputs: Any) -> BaseModelOutput: ...


class EncoderDecoderLayout:
    """Inputs and targets are two sequences: the encoder reads one, the decoder writes the other."""

    auto_class = "AutoModelForSeq2SeqLM"

    def training_batch(self, inputs: Sequence[Ids], targets: Sequence[Ids], pad_id: int) -> dict[str, Tensor]:
        """Pads inputs and targets to the longest of the batch.

        Returns:
            `input_ids` and `attention_mask` (batch, source length), `labels` (batch, target length) padded with -100.
        """
        return {**self.generation_batch(inputs, pad_id), "labels": pad(targets, IGNORED_LABEL)}

    def forward_inputs(self, backbone: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The backbone's arguments for the logits of a batch's labels; the loss is computed outside."""
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        return {**inputs, "decoder_input_ids": backbone.prepare_decoder_input_ids_from_labels(batch["labels"])}

    def aligned(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, length, vocabulary) and the labels (batch, length) that they predict."""
        return logits, labels

    def generation_batch(self, inputs: Sequence[Ids], pad_id: int) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, (batch, source length) each, padded on the right."""
        input_ids, lengths = pad(inputs, pad_id), torch.tensor([len(ids) for ids in inputs])
        mask = (torch.arange(input_ids.shape[1]) < lengths.unsqueeze(1)).long()
        return {"input_ids": input_ids, "attention_mask": mask}

    def generation_options(self, inputs: Mapping[str, Any], depths: Collection[int]) -> dict[str, Any]:
        """What replaces or completes the arguments of `generate`; `depths` are the stacks' numbers of layers."""
        options: dict[str, Any] = {}
        if inputs.get("encoder_outputs") is not None:  # generate with beams would repeat the caller's rows in place
            options["encoder_outputs"] = copy.copy(inputs["encoder_outputs"])
        if len(set(depths)) > 1 and "past_key_values" not in inputs and inputs.get("use_cache", True):
            # transformers sizes the cache by the encoder's depth; a deeper decoder needs one that grows.
            options["past_key_values"] = EncoderDecoderCache(DynamicCache(), DynamicCache())
        return options

    def generated(self, ids: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """The new tokens, (batch, length), of what `generate` returned for a batch."""
        return ids

    def read(self, model: Encodes, batch: Mapping[str, Tensor], task_ids: Sequence[int]) -> dict[str, Any]:
        """Runs the encoder once; the result is what `generate` and `continued` take in place of the batch."""
        hidden = model.encode(**batch, task_ids=task_ids).last_hidden_state
        return {"encoder_outputs": BaseModelOutput(hidden), "attention_mask": batch["attention_mask"]}

    def continued(self, read: Mapping[str, Any], rows: Tensor, targets: Tensor) -> dict[str, Any]:
        """A batch that scores `targets` (n, length), each after the input of one of the `rows` (n,) that were read."""
        hidden = read["encoder_outputs"].last_hidden_state
        return {"encoder_outputs": (hidden[rows],), "attention_mask": read["attention_mask"][rows], "labels": targets}


def pad(sequences: Sequence[Ids], value: int) -> Tensor:
    """(sequences, longest), int64, filled up on the right."""
    padded = np.full((len(sequences), max(map(len, sequences))), value, dtype=np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(padded)
