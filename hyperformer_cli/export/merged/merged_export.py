"""Writes a plain transformers model: the backbone with one task's LoRA in its weights, tokenizer, generation settings.

The sums are taken in float32 and rounded to the backbone's type.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from hyperformer_cli.backbones.families import auto_class
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.readme import write_readme
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.verification import TaskComparison, compare, plain_outputs


def write(source: ExportSource, folder: Path) -> None:
    """Writes the merged model of the source's task.

    Raises:
        InputError: several tasks, or adapters that cannot be merged.
    """
    if len(source.tasks) > 1:
        known = ", ".join(source.tasks)
        raise InputError(f"--format merged: a merged model answers one task; choose one with --task: {known}")
    merged: Any = source.model.merged(source.first_task)  # a PreTrainedModel, whose `to` is not typed
    merged.generation_config = _generation_config(source, merged)
    merged.to(_dtype(source)).save_pretrained(folder)
    source.run.tokenizer.save_pretrained(folder)
    model = source.model
    write_readme(
        source,
        folder,
        "merged/merged_readme.md.jinja",
        auto_class=model.family.layout.auto_class,
        method=model.config.method,
        origin=model.source,
        dtype=model.source.dtype,
    )


def verify(source: ExportSource, folder: Path) -> Iterator[TaskComparison]:
    """Compares the run with the folder; where it was rounded, with the model before, and says how far it was moved."""
    task, dtype = source.first_task, _dtype(source)
    loaded = auto_class(source.model.family).from_pretrained(folder, dtype=torch.float32).eval()
    if dtype == torch.float32:
        yield compare(source, task, plain_outputs(source, task, loaded))
        return
    exact = source.model.merged(task).eval()
    comparison = compare(source, task, plain_outputs(source, task, exact))
    found, moved = dict(loaded.named_parameters()), 0.0
    for name, parameter in exact.named_parameters():
        if not torch.equal(parameter.to(dtype).float(), found[name]):
            comparison = replace(comparison, difference=inf)
        moved = max(moved, float((parameter - found[name]).detach().abs().max()))
    rounded = f"before rounding to {source.model.source.dtype}, which moves a weight by up to {moved:.2g}"
    yield replace(comparison, inputs=f"{comparison.inputs}, {rounded}")


def _dtype(source: ExportSource) -> torch.dtype:
    return getattr(torch, source.model.source.dtype)


def _generation_config(source: ExportSource, merged: PreTrainedModel) -> GenerationConfig:
    """The backbone's, with the limits of the task's predictions."""
    task, family = source.tasks[source.first_task], source.model.family
    settings = {
        "max_new_tokens": source.about(task.name)["max_new_tokens"],
        "num_beams": source.run.recipe.evaluation.num_beams or task.num_beams,
        "do_sample": False,
    }
    depths = [family.depth(merged.config, stack) for stack in family.stacks]
    if depths[-1] > depths[0]:
        settings["use_cache"] = False  # transformers sizes the cache by the encoder's depth
    before = merged.generation_config
    special = source.run.tokenization.encoding.decoding(before)
    return GenerationConfig(**{**before.to_diff_dict(), **special, **settings})
