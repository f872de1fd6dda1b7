"""Writes every task's LoRA as PEFT loads it, and vLLM and llama.cpp from there.

    <task>/adapter_config.json         one rank, one alpha, plain scaling; see `storage.peft`
    <task>/adapter_model.safetensors
    <task>/README.md                   a model card
    backbone/                          only with --with-backbone: the backbone with the layer norms that were trained

A run with one model per task, which is exported into a folder per task, has the adapter there.
"""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hyperformer_cli.adapters.linear_maps import select_linear_maps, shortest_targets
from hyperformer_cli.adapters.merging import bare_copy
from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.families import auto_class
from hyperformer_cli.bundled import folder_of
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.hub.without_paths import is_folder
from hyperformer_cli.export.readme import write_readme
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.verification import TaskComparison, compare, plain_outputs
from hyperformer_cli.storage.peft import PeftLora, read_peft, write_peft

BACKBONE = "backbone"
_FORM = "lora"
_TASK_TYPES = {"AutoModelForSeq2SeqLM": "SEQ_2_SEQ_LM", "AutoModelForCausalLM": "CAUSAL_LM"}


def write(source: ExportSource, folder: Path) -> None:
    """Writes the LoRA of every task of the source, and the backbone if the source asks for it.

    Raises:
        InputError: the run's adapters are no LoRA, or trained layer norms would be left out.
    """
    _check(source)
    base_model = BACKBONE if source.with_backbone else base_model_name(source)
    for task in source.tasks:
        own = task_folder(source, folder, task)
        lora = replace(peft_lora(source.model, task), base_model=base_model, revision=_revision(source))
        write_peft(own, lora)
        variables = {"lora": lora, "auto_class": source.model.family.layout.auto_class, "base_model": base_model}
        local = source.with_backbone or is_folder(base_model)
        write_readme(source, own, "peft/peft_card.md.jinja", task, local=local, **variables)
    if source.with_backbone:
        plain = bare_copy(source.model.backbone).to(getattr(torch, source.model.source.dtype))
        plain.save_pretrained(folder / BACKBONE)
        source.run.tokenizer.save_pretrained(folder / BACKBONE)


def verify(source: ExportSource, folder: Path) -> Iterator[TaskComparison]:
    """Compares the run with the folders as PEFT loads them; where it is not installed, as our own arithmetic has it."""
    if source.with_backbone:
        family = source.model.family
        backbone = auto_class(family).from_pretrained(folder / BACKBONE, dtype=torch.float32)
    else:
        backbone = bare_copy(source.model.backbone)
    if find_spec("peft") is None:
        yield from _compare_without_peft(source, folder, backbone.eval())
    else:
        yield from _compare_with_peft(source, folder, backbone)


def _compare_with_peft(source: ExportSource, folder: Path, backbone: PreTrainedModel) -> Iterator[TaskComparison]:
    from peft import PeftModel

    model: Any = None
    for number, task in enumerate(source.tasks):
        name, own = f"task{number}", str(task_folder(source, folder, task))
        if model is None:
            model = PeftModel.from_pretrained(backbone, own, adapter_name=name)
        else:
            model.load_adapter(own, adapter_name=name)
        model.set_adapter(name)
        yield compare(source, task, plain_outputs(source, task, model.eval()))


def _compare_without_peft(source: ExportSource, folder: Path, backbone: PreTrainedModel) -> Iterator[TaskComparison]:
    for task in source.tasks:
        lora = read_peft(task_folder(source, folder, task))
        handles = [
            backbone.get_submodule(name).register_forward_hook(_adding(a, b, lora.alpha / lora.rank))
            for name, (a, b) in lora.matrices.items()
        ]
        found = plain_outputs(source, task, backbone)
        for handle in handles:
            handle.remove()
        yield compare(source, task, found)


def _adding(a: Tensor, b: Tensor, scaling: float) -> Any:
    def hook(_: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return output + scaling * functional.linear(functional.linear(inputs[0], a), b)

    return hook


def task_folder(source: ExportSource, folder: Path, task: str) -> Path:
    """Where a task's adapter is: a folder of its name, which `folder` itself is where each task has its own model."""
    return folder if list(source.tasks) == [task] and folder.name == task else folder / task


def peft_lora(model: AdaptedModel, task: str) -> PeftLora:
    """A task's adapters under PEFT's names."""
    config, weights = model.config, model.adapter_weights(task)
    maps = select_linear_maps(model.backbone, model.family, config.target_modules)
    named = {one.name: weights[one.site].named_tensors() for one in maps}
    matrices = {name: (own["lora_A"], own["lora_B"]) for name, own in named.items()}
    return PeftLora(
        rank=config.rank,
        alpha=config.alpha,
        dropout=config.dropout,
        matrices={name: (a.detach().clone(), b.detach().clone()) for name, (a, b) in matrices.items()},
        target_modules=shortest_targets(model.backbone, list(matrices)),
        task_type=_TASK_TYPES.get(model.family.layout.auto_class),
        fan_in_fan_out=any(isinstance(one.module, Conv1D) for one in maps),
    )


def _revision(source: ExportSource) -> str | None:
    origin = source.model.source
    return origin.revision if origin.is_pinned and not source.with_backbone else None


def base_model_name(source: ExportSource) -> str | None:
    """The backbone's name on the hub, or the path of its folder; None where it was drawn at random."""
    origin = source.model.source
    if origin.name is None or origin.init == "random":
        return None
    path = Path(folder_of(origin.name))
    return str(path.resolve()) if path.is_dir() else origin.name


def _check(source: ExportSource) -> None:
    config, where = source.model.config, source.run.path
    if source.form != _FORM or not config.has_bank:
        what = f"has {source.form} adapters" if source.form and config.has_bank else "has no adapters"
        raise InputError(f"{where}: {what}; --format peft writes LoRA (adapter.form=lora) and nothing else")
    if config.train_layer_norms and not source.with_backbone:
        raise InputError(
            f"{where}: trained the backbone's layer norms, which a LoRA folder does not hold and vLLM rejects. Add "
            "--with-backbone, which writes them merged into a backbone folder, or use --format merged"
        )
    if source.with_backbone and BACKBONE in source.tasks:
        raise InputError(f"--with-backbone: a task is named '{BACKBONE}', like the folder of the backbone")
