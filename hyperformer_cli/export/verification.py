"""Whether an export computes what its run computes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.export.source import ExportSource

NEW_TOKENS = 8  # decoded greedily; every one must be the same


@dataclass(frozen=True)
class Outputs:
    """The outputs of a model for one batch of samples.

    Attributes:
        logits: (rows, target length, vocabulary), each for a label after those before it.
        ids: (rows, length), what `generate` returns, greedily decoded: at most NEW_TOKENS of them are new.
    """

    logits: Tensor
    ids: Tensor


@dataclass(frozen=True)
class TaskComparison:
    """How far the export of one task is from the run.

    Attributes:
        task: its name.
        difference: the largest difference of a logit; infinite where shapes differ or a value is not a number.
        ids_identical: whether both decode the same tokens greedily.
        inputs: what both were given, in words.
    """

    task: str
    difference: float
    ids_identical: bool
    inputs: str

    def __str__(self) -> str:
        ids = "the same" if self.ids_identical else "OTHER"
        return f"{self.task}: logits differ by at most {self.difference:.2g}, {ids} greedy tokens; on {self.inputs}"


def outputs(source: ExportSource, task: str, model: AdaptedModel) -> Outputs:
    """The outputs of an `AdaptedModel` for the samples of a task; it decodes as the run does."""
    samples = source.samples[task]
    inputs = model.family.layout.forward_inputs(model.backbone, samples.batch)
    with torch.inference_mode():
        logits = model(**inputs, task=task).logits
        ids = model.generate(**samples.prompts, task=task, **_decoding(source))
    return Outputs(logits, ids)


def plain_outputs(source: ExportSource, task: str, model: Any) -> Outputs:
    """The outputs of a model of transformers, or of PEFT, in evaluation mode, for the samples of a task."""
    layout, backbone, samples = source.model.family.layout, source.model.backbone, source.samples[task]
    depths = [source.model.family.depth(backbone.config, stack) for stack in source.model.family.stacks]
    inputs = layout.forward_inputs(backbone, samples.batch)
    prompts = {**samples.prompts, "use_cache": model.generation_config.use_cache is not False}
    prompts |= layout.generation_options(prompts, depths)
    with torch.inference_mode():
        logits = model(**inputs, **layout.forward_options(inputs)).logits
        ids = model.generate(**prompts, **_decoding(source))
    return Outputs(logits, ids)


def _decoding(source: ExportSource) -> dict[str, Any]:
    special = source.run.tokenization.encoding.decoding(source.model.backbone.generation_config)
    return {**special, "max_new_tokens": NEW_TOKENS, "do_sample": False, "num_beams": 1}


def compare(source: ExportSource, task: str, found: Outputs) -> TaskComparison:
    """Compares an export's outputs for the samples of a task with the run's."""
    samples = source.samples[task]
    expected = outputs(source, task, source.model)
    same_ids = expected.ids.shape == found.ids.shape and bool((expected.ids == found.ids).all())
    difference = math.inf
    if expected.logits.shape == found.logits.shape:
        largest = float((expected.logits - found.logits).abs().max())
        difference = math.inf if math.isnan(largest) else largest
    return TaskComparison(task, difference, same_ids, samples.origin)


def compare_models(source: ExportSource, model: AdaptedModel) -> Iterator[TaskComparison]:
    """Compares the run's model with one that was loaded from an export, task by task."""
    for task in source.samples:
        yield compare(source, task, outputs(source, task, model))
