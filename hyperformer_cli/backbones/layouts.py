"""How a batch is laid out for a kind of model: inputs and targets to tensors, and what was generated to new tokens.

A layout is asked for

    training_batch      token ids of inputs and targets -> padded tensors with `labels`
    forward_inputs      such a batch -> the arguments of `AdaptedModel.forward` for the logits of its labels
    forward_options     what completes the arguments of the backbone's `forward`
    generation_batch    token ids of inputs -> the arguments of `generate`
    generation_options  what replaces or completes the arguments of `generate`
    generated           what `generate` returned -> the new tokens
    read                one pass over the inputs that `generate` and the scoring of labels share
    begin               a batch, or what was read of it -> the logits of each row's first new token, and the rows
    advance             such rows and some tokens more -> the logits of the token after each of them
    stack_lengths       how many tokens a stack reads, and how many each of them attends to
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

IGNORED_LABEL = -100

Stack = Literal["encoder", "decoder"]
Ids = Sequence[int] | np.ndarray


class Reader(Protocol):
    """What `read` needs of a model: an `AdaptedModel`."""

    def encode(self, **inputs: Any) -> BaseModelOutput: ...

    def __call__(self, **inputs: Any) -> Any: ...


@dataclass(frozen=True)
class Continuation:
    """Rows that have been read, to be continued token by token.

    Attributes:
        mask: (rows, length), of the encoder's input, or of all tokens so far where there is no encoder.
        cache: keys and values of all tokens so far; None where nothing is to follow.
        encoded: (rows, length, hidden), what the encoder made of the inputs; None without an encoder.
    """

    mask: Tensor
    cache: Cache | None
    encoded: Tensor | None = None

    def select(self, rows: Tensor | None) -> "Continuation":
        """Some of the rows, (n,), as often as they are named; None is all. What follows them does not change this."""
        cache = None if self.cache is None else _rows_of(self.cache, rows)
        if rows is None:
            return replace(self, cache=cache)
        return Continuation(self.mask[rows], cache, None if self.encoded is None else self.encoded[rows])


class EncoderDecoderLayout:
    """Inputs and targets are two sequences: the encoder reads one, the decoder writes the other."""

    auto_class = "AutoModelForSeq2SeqLM"
    joins_target = False  # inputs and targets are two sequences

    def training_batch(self, inputs: Sequence[Ids], targets: Sequence[Ids], pad_id: int) -> dict[str, Tensor]:
        """Pads inputs and targets to the longest of the batch.

        Returns:
            `input_ids` and `attention_mask` (batch, source length), `labels` (batch, target length) padded with -100.
        """
        return {**self.generation_batch(inputs, pad_id), "labels": pad(targets, IGNORED_LABEL)}

    def forward_inputs(self, backbone: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The model's arguments for logits (batch, target length, vocabulary); the loss is computed outside."""
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        return {**inputs, "decoder_input_ids": backbone.prepare_decoder_input_ids_from_labels(batch["labels"])}

    def forward_options(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def generation_batch(self, inputs: Sequence[Ids], pad_id: int) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, (batch, source length) each, padded on the right."""
        return {"input_ids": pad(inputs, pad_id), "attention_mask": pad([np.ones(len(ids)) for ids in inputs], 0)}

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

    def read(self, model: Reader, batch: Mapping[str, Tensor], task_ids: Sequence[int]) -> dict[str, Any]:
        """Runs the encoder once; the result is what `generate` and `begin` take in place of the batch."""
        hidden = model.encode(**batch, task_ids=task_ids).last_hidden_state
        return {"encoder_outputs": BaseModelOutput(hidden), "attention_mask": batch["attention_mask"]}

    def begin(
        self, backbone: Any, batch: Mapping[str, Any], start_id: int | None, goes_on: bool = True
    ) -> tuple[Tensor, Continuation]:
        """Reads a batch as far as it has not been read, and has the decoder read its start token.

        Args:
            backbone: the model, its adapters active; see `AdaptedModel.adapting`.
            batch: of `generation_batch`, or what `read` returned.
            start_id: the decoder's start token.
            goes_on: whether tokens will follow.

        Returns:
            (rows, vocabulary): the logits of each row's first new token; and the rows, to `advance` from.
        """
        encoded = batch.get("encoder_outputs")
        if encoded is None:
            encoded = backbone.get_encoder()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        hidden = encoded.last_hidden_state
        assert start_id is not None
        tokens = torch.full((len(hidden), 1), start_id, dtype=torch.long, device=hidden.device)
        logits, rows = self._decode(backbone, Continuation(batch["attention_mask"], None, hidden), tokens, goes_on)
        return logits[:, -1], rows

    def advance(self, backbone: Any, rows: Continuation, tokens: Tensor) -> tuple[Tensor, Continuation]:
        """Appends `tokens` (rows, n) to the rows; they are changed.

        Returns:
            (rows, n, vocabulary): the logits of the token after each of them; and the rows.
        """
        return self._decode(backbone, rows, tokens)

    def _decode(
        self, backbone: Any, rows: Continuation, tokens: Tensor, goes_on: bool = True
    ) -> tuple[Tensor, Continuation]:
        out = backbone(
            encoder_outputs=BaseModelOutput(rows.encoded),
            attention_mask=rows.mask,
            decoder_input_ids=tokens,
            past_key_values=rows.cache,
            use_cache=goes_on,
        )
        return out.logits, replace(rows, cache=out.past_key_values)

    def stack_lengths(self, source: int, target: int) -> dict[Stack, tuple[int, int]]:
        return {"encoder": (source, source), "decoder": (target, target + source)}


class DecoderOnlyLayout:
    """Prompt and target are one sequence, of which only the target is predicted.

    Batches to train on are padded on the right, batches to generate from on the left, so that every row's last token
    is in the last column. Positions are counted from a row's first token; padding is told by the attention mask alone,
    so that any token can fill it.
    """

    auto_class = "AutoModelForCausalLM"
    joins_target = True

    def training_batch(self, inputs: Sequence[Ids], targets: Sequence[Ids], pad_id: int) -> dict[str, Tensor]:
        """Joins each prompt and its target, without the target's last token, which predicts nothing.

        Returns:
            `input_ids` and `attention_mask` (batch, length) padded on the right; `labels` (batch, target length), the
            targets padded with -100; and `logits_to_keep` (batch, target length), the position in `input_ids` that
            predicts each label. Logits are computed there only.
        """
        rows = [np.concatenate([prompt, target[:-1]]) for prompt, target in zip(inputs, targets, strict=True)]
        input_ids, labels = pad(rows, pad_id), pad(targets, IGNORED_LABEL)
        first = torch.tensor([[len(prompt) - 1] for prompt in inputs])
        return {
            "input_ids": input_ids,
            "attention_mask": pad([np.ones(len(row)) for row in rows], 0),
            "labels": labels,
            "logits_to_keep": (first + torch.arange(labels.shape[1])).clamp(max=input_ids.shape[1] - 1),
        }

    def forward_inputs(self, backbone: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The model's arguments for logits (batch, target length, vocabulary); the loss is computed outside."""
        return {name: value for name, value in batch.items() if name != "labels"}

    def forward_options(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Positions from each row's first token on, which backbones count from the first column unless told."""
        mask = inputs.get("attention_mask")
        if mask is None or mask.dim() != 2 or inputs.get("position_ids") is not None:
            return {}
        read = inputs["input_ids"] if inputs.get("input_ids") is not None else inputs["inputs_embeds"]
        return {"position_ids": _positions(mask)[:, -read.shape[1] :]}

    def generation_batch(self, inputs: Sequence[Ids], pad_id: int) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, (batch, prompt length) each, padded on the left."""
        mask = pad([np.ones(len(ids)) for ids in inputs], 0, left=True)
        return {"input_ids": pad(inputs, pad_id, left=True), "attention_mask": mask}

    def generation_options(self, inputs: Mapping[str, Any], depths: Collection[int]) -> dict[str, Any]:
        """A cache of the prompt is copied, because `generate` would extend the caller's, and repeated for beams."""
        cache, beams = inputs.get("past_key_values"), inputs.get("num_beams") or 1
        if cache is None:
            return {}
        rows = torch.arange(len(inputs["input_ids"]), device=inputs["input_ids"].device)
        return {"past_key_values": _rows_of(cache, rows.repeat_interleave(beams) if beams > 1 else None)}

    def generated(self, ids: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """The new tokens, (batch, length), of what `generate` returned for a batch: without the prompt."""
        return ids[:, batch["input_ids"].shape[1] :]

    def read(self, model: Reader, batch: Mapping[str, Tensor], task_ids: Sequence[int]) -> dict[str, Any]:
        """Runs the prompts once, but for their last tokens, from which `generate` and `begin` go on."""
        if batch["input_ids"].shape[1] == 1:
            return dict(batch)
        all_but_last = {name: tensor[:, :-1] for name, tensor in batch.items()}
        out = model(**all_but_last, task_ids=task_ids, use_cache=True, logits_to_keep=1)
        return {**batch, "past_key_values": out.past_key_values}

    def begin(
        self, backbone: Any, batch: Mapping[str, Any], start_id: int | None, goes_on: bool = True
    ) -> tuple[Tensor, Continuation]:
        """Reads a batch as far as it has not been read.

        Args:
            backbone: the model, its adapters active; see `AdaptedModel.adapting`.
            batch: of `generation_batch`, or what `read` returned.
            start_id: not used: prompts have their own.
            goes_on: whether tokens will follow.

        Returns:
            (rows, vocabulary): the logits of each row's first new token; and the rows, to `advance` from.
        """
        mask, tokens, cache = batch["attention_mask"], batch["input_ids"], batch.get("past_key_values")
        if cache is not None:
            cache, tokens = _rows_of(cache, None), tokens[:, -1:]
        logits, rows = self._read(backbone, Continuation(mask, cache), tokens, use_cache=goes_on, logits_to_keep=1)
        return logits[:, -1], rows

    def advance(self, backbone: Any, rows: Continuation, tokens: Tensor) -> tuple[Tensor, Continuation]:
        """Appends `tokens` (rows, n) to the rows; they are changed.

        Returns:
            (rows, n, vocabulary): the logits of the token after each of them; and the rows.
        """
        mask = torch.cat([rows.mask, torch.ones_like(tokens, dtype=rows.mask.dtype)], dim=1)
        return self._read(backbone, replace(rows, mask=mask), tokens, use_cache=True)

    def _read(self, backbone: Any, rows: Continuation, tokens: Tensor, **options: Any) -> tuple[Tensor, Continuation]:
        """Reads `tokens`, the last of those that the rows' mask covers."""
        out = backbone(
            input_ids=tokens,
            attention_mask=rows.mask,
            position_ids=_positions(rows.mask)[:, -tokens.shape[1] :],
            past_key_values=rows.cache,
            **options,
        )
        return out.logits, replace(rows, cache=out.past_key_values)

    def stack_lengths(self, source: int, target: int) -> dict[Stack, tuple[int, int]]:
        return {"decoder": (source + target, source + target)}


Layout = EncoderDecoderLayout | DecoderOnlyLayout


def pad(sequences: Sequence[Ids], value: int, left: bool = False) -> Tensor:
    """(sequences, longest), int64, filled up on the right, or on the left."""
    padded = np.full((len(sequences), max(map(len, sequences))), value, dtype=np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[len(row) - len(sequence) if left else 0 :][: len(sequence)] = sequence
    return torch.from_numpy(padded)


def _positions(mask: Tensor) -> Tensor:
    """(batch, length): the number of each token within its row, from 0; 0 for padding before it."""
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)


def _rows_of(cache: Cache, rows: Tensor | None) -> Cache:
    """A cache with these rows of another (None: all of them), which can be extended without changing that one."""
    if isinstance(cache, EncoderDecoderCache):
        both = cache.self_attention_cache, cache.cross_attention_cache
        return EncoderDecoderCache(*(_rows_of(own, rows) for own in both))
    chosen = copy.copy(cache)
    chosen.layers = [copy.copy(layer) for layer in cache.layers]  # whose tensors are replaced, not written to
    if rows is not None:
        chosen.batch_select_indices(rows)
    return chosen
