"""Greedy decoding of short answers: one pass over the inputs, then one step per token, without all of `generate`.

`generate` stays for beams, for long texts, for sharded backbones, and wherever a backbone's generation configuration
asks for anything that is not done here.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.layouts import Continuation

SHORT = 32  # tokens of an answer, up to which it is decoded here

# What says nothing of how an answer is decoded greedily: used here, or by sampling or beams alone.
_WITHOUT_EFFECT = {
    "transformers_version", "_from_model_config", "max_length", "max_new_tokens", "bos_token_id", "eos_token_id",
    "pad_token_id", "decoder_start_token_id", "forced_bos_token_id", "temperature", "top_k", "top_p", "min_p", "top_h",
    "typical_p", "epsilon_cutoff", "eta_cutoff", "length_penalty", "early_stopping",
}  # fmt: skip
# Values of other keys that have none either.
_NEUTRAL: dict[str, Any] = {
    "do_sample": False, "num_beams": 1, "num_return_sequences": 1, "use_cache": True, "min_length": 0,
    "min_new_tokens": 0, "repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0, "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0, "guidance_scale": 1.0, "diversity_penalty": 0.0, "num_beam_groups": 1,
    "output_attentions": False, "output_hidden_states": False, "output_scores": False, "output_logits": False,
    "return_dict_in_generate": False,
}  # fmt: skip


@dataclass(frozen=True)
class GreedyRules:
    """What greedy decoding needs to know besides the model.

    Attributes:
        ends: tokens behind which an answer ends.
        pad_id: fills up answers that have ended.
        start_id: the decoder's start token; None without an encoder.
        forced_id: what every answer begins with, whatever the model says; None where nothing is forced.
    """

    ends: tuple[int, ...]
    pad_id: int
    start_id: int | None
    forced_id: int | None = None


def greedy_rules(model: AdaptedModel, options: Mapping[str, Any]) -> GreedyRules | None:
    """The rules by which `generate` with these arguments would decode greedily, or None if it would do anything else.

    Args:
        model: its backbone has a generation configuration.
        options: arguments of `generate` that replace parts of it.
    """
    stated = {**model.backbone.generation_config.to_diff_dict(), **options}
    said = {key: value for key, value in stated.items() if value is not None and key not in _WITHOUT_EFFECT}
    if model.is_sharded or any(key not in _NEUTRAL or value != _NEUTRAL[key] for key, value in said.items()):
        return None
    ends, pad_id, forced = (stated.get(name) for name in ("eos_token_id", "pad_token_id", "forced_bos_token_id"))
    ends = () if ends is None else tuple(ends) if isinstance(ends, list | tuple) else (ends,)
    pad_id = ends[0] if pad_id is None and ends else pad_id
    start = None
    if not model.family.layout.joins_target:
        start = stated.get("decoder_start_token_id")
        start = stated.get("bos_token_id") if start is None else start
        if not isinstance(start, int):
            return None
    elif forced is not None:
        return None
    if pad_id is None or not all(isinstance(token, int) for token in (*ends, pad_id, 0 if forced is None else forced)):
        return None
    return GreedyRules(ends, pad_id, start, forced)


def decode_greedily(
    model: AdaptedModel,
    first_logits: Tensor,
    rows: Continuation,
    task_ids: Sequence[int],
    limits: Sequence[int],
    rules: GreedyRules,
) -> np.ndarray:
    """The likeliest token after another, until a row's answer ends or has as many tokens as it may have.

    A step is computed for all rows until half of them have ended; then for the others alone.

    Args:
        model: within `adapting` of the rows' tasks.
        first_logits, rows: what the layout's `begin` returned; they are not changed.
        task_ids: (batch,).
        limits: (batch,), the most tokens of each row's answer.
        rules: from `greedy_rules`.

    Returns:
        (batch, tokens of the longest answer): token ids, filled up with `rules.pad_id`.
    """
    layout, left = model.family.layout, np.asarray(limits)
    found = np.full((len(left), left.max()), rules.pad_id, dtype=np.int64)
    numbers, going = np.arange(len(left)), np.ones(len(left), dtype=bool)
    logits, rows, length = first_logits, rows.select(None), 0
    with ExitStack() as adapters:
        while True:
            tokens = logits.argmax(dim=-1)
            if length == 0 and rules.forced_id is not None:
                tokens = torch.full_like(tokens, rules.forced_id)
            own = tokens.cpu().numpy()
            found[numbers[going], length] = own[going]
            length += 1
            going = going & (left[numbers] > length) & ~np.isin(own, rules.ends)
            if not going.any():
                return found[:, :length]
            if 2 * going.sum() <= len(going):
                kept = np.flatnonzero(going)
                numbers, going, chosen = numbers[kept], going[kept], torch.from_numpy(kept).to(tokens.device)
                rows, tokens = rows.select(chosen), tokens[chosen]
                adapters.close()
                adapters.enter_context(model.adapting([task_ids[number] for number in numbers.tolist()]))
            logits, rows = layout.advance(model.backbone, rows, tokens[:, None])
            logits = logits[:, -1]
