"""Whether an export computes what its run computes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.export.source import ExportSource

NEW_TOKENS = 8  # decoded greedily, of which all must be the same

Comparison = dict[str, tuple[float, bool]]  # by task: largest difference of a logit, whether the greedy ids are equal


@dataclass(frozen=True)
class Outputs:
    """What a model answers to one batch of samples.

    Attributes:
        logits: (rows, target length, vocabulary), with the labels shifted right as the decoder's input.
        ids: (rows, at most 1 + NEW_TOKENS), greedily decoded, beginning with the start token.
    """

    logits: Tensor
    ids: Tensor


def outputs(model: AdaptedModel, task: str, samples: Mapping[str, Tensor]) -> Outputs:
    """The outputs of a model of ours for one task."""
    inputs = {name: samples[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        logits = model(**samples, task=task).logits
        ids = model.generate(**inputs, task=task, max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1)
    return Outputs(logits, ids)


def compare(expected: Outputs, found: Outputs) -> tuple[float, bool]:
    """The largest difference of a logit (infinite where shapes differ or a value is not finite), and equal ids."""
    same_ids = expected.ids.shape == found.ids.shape and bool((expected.ids == found.ids).all())
    if expected.logits.shape != found.logits.shape:
        return float("inf"), same_ids
    difference = float((expected.logits - found.logits).abs().max())
    return difference if difference == difference else float("inf"), same_ids


def compare_models(source: ExportSource, model: AdaptedModel) -> Comparison:
    """Compares the run's model with one loaded from an export, task by task."""
    return {
        task: compare(outputs(source.model, task, source.samples[task]), outputs(model, task, source.samples[task]))
        for task in source.tasks
    }
