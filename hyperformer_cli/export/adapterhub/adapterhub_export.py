"""Writes bottleneck adapters on T5 as AdapterHub's library `adapters` loads them, and the T5 they belong to.

    <task>/adapter_config.json       an adapter, without a head
    <task>/adapter.safetensors       its weights
    <task>/pytorch_adapter.bin       the same for plain `load_adapter(folder)`, which reads nothing else
    backbone/                        the T5, with the trained layer norms; the tokenizer

Our adapter is its bottleneck adapter after self-attention (`mh_adapter`) and feed-forward (`output_adapter`), none in
cross-attention, normed before its own residual is added; both round down where r does not divide the hidden size.
The files are for adapters 1.3 and transformers 4.57.
"""

import io
import json
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.adapterhub.adapterhub_model import attached, backbone_outputs
from hyperformer_cli.export.readme import write_readme
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.verification import TaskComparison, compare
from hyperformer_cli.storage.atomic import atomic_path, write_json
from hyperformer_cli.storage.reference import reference_layer
from hyperformer_cli.storage.trained import write_tensors

BACKBONE = "backbone"
CONFIG_FILE, WEIGHTS_FILE, PICKLE_FILE = "adapter_config.json", "adapter.safetensors", "pytorch_adapter.bin"
_VERSION = "adapters.1.3.0"  # without one it takes gelu for gelu_new
_FORM, _MODEL_TYPES = "bottleneck", ("t5", "mt5")
_KINDS = {"weight": "weight", "bias": "bias", "scale": "weight", "shift": "bias"}  # its name of our tensors


def write(source: ExportSource, folder: Path) -> None:
    """Writes the adapters of the source's tasks and the backbone.

    Raises:
        InputError: the run has no adapters, or AdapterHub does not know their form, the backbone, or a task's name.
    """
    _check(source)
    for task in source.tasks:
        tensors = adapter_tensors(source.model, task)
        write_tensors(folder / task / WEIGHTS_FILE, tensors)
        _write_pickle(folder / task / PICKLE_FILE, tensors)
        write_json(folder / task / CONFIG_FILE, _adapter_config(source.model, task))
    _write_backbone(source.model.backbone, folder / BACKBONE)
    _write_tokenizer(source.run.tokenizer, folder / BACKBONE)
    write_readme(source, folder, "adapterhub/adapterhub_readme.md.jinja")


def verify(source: ExportSource, folder: Path) -> Iterator[TaskComparison]:
    """Compares the run with the files as AdapterHub computes them."""
    backbone = AutoModelForSeq2SeqLM.from_pretrained(folder / BACKBONE, dtype=torch.float32).eval()
    for task, samples in source.samples.items():
        config = json.loads((folder / task / CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / task / WEIGHTS_FILE)
        pickled = torch.load(folder / task / PICKLE_FILE, weights_only=True)
        if pickled.keys() != tensors.keys() or not all(torch.equal(pickled[name], tensors[name]) for name in tensors):
            yield TaskComparison(task, inf, False, samples.origin)
            continue
        with attached(backbone, config, tensors):
            found = backbone_outputs(backbone, samples.batch)
        yield compare(source, task, found)


def _check(source: ExportSource) -> None:
    config, model_type = source.model.config, source.model.backbone.config.model_type
    if not config.has_bank:
        reason = "finetune trains the whole backbone" if config.method == "finetune" else "adapter_blocks is false"
        raise InputError(f"{source.run.path}: has no adapters to write ({reason}); AdapterHub takes nothing else")
    if source.form != _FORM:
        raise InputError(f"--format adapterhub: knows {_FORM} adapters, not {source.form}")
    if model_type not in _MODEL_TYPES:
        raise InputError(f"--format adapterhub: AdapterHub knows {' and '.join(_MODEL_TYPES)}, not {model_type}")
    for task in source.tasks:
        if "." in task or task == BACKBONE:
            raise InputError(f"--format adapterhub: '{task}' cannot be the name of an adapter there")


def _adapter_config(model: AdaptedModel, task: str) -> dict[str, Any]:
    """The content of a task's `adapter_config.json`: a BnConfig of adapters 1.3, every field of it."""
    stated = json.loads(Path(__file__).with_name("bottleneck_config.json").read_text(encoding="utf-8"))
    config, shape = model.config, model.backbone.config
    ours = {
        "reduction_factor": config.reduction_factor,
        "non_linearity": config.non_linearity,
        "ln_before": config.layer_norm_before,
        "ln_after": config.layer_norm_after,
    }
    return {
        "config": stated | ours,
        "hidden_size": shape.d_model,
        "model_class": type(model.backbone).__name__,
        "model_name": "",
        "model_type": shape.model_type,
        "name": task,
        "version": _VERSION,
    }


def adapter_tensors(model: AdaptedModel, task: str) -> dict[str, Tensor]:
    """A task's adapters under AdapterHub's names."""
    tensors: dict[str, Tensor] = {}
    for site, weights in model.adapter_weights(task).items():
        named = weights.named_tensors()
        modules = {"down": ["adapter_down.0"], "up": ["adapter_up"], "post_norm": ["adapter_norm_after"]}
        if "pre_norm_scale" in named:
            # There a norm before is the first module of `adapter_down`, and a module of its own as well.
            modules |= {"down": ["adapter_down.1"], "pre_norm": ["adapter_down.0", "adapter_norm_before"]}
        layer = reference_layer(site.stack, site.layer, site.position)
        for name, tensor in named.items():
            part, kind = name.rsplit("_", 1)
            for module in modules[part]:
                tensors[f"{layer}.adapters.{task}.{module}.{_KINDS[kind]}"] = tensor
    # They are views into the tensors of all tasks, whose whole memory a pickle would hold.
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def _write_backbone(backbone: PreTrainedModel, folder: Path) -> None:
    """The T5 in the terms of transformers 4, where `tie_word_embeddings` also says whether the output is scaled."""
    tied = getattr(backbone.config, "scale_decoder_outputs", False)
    left_out = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"} | ({"lm_head.weight"} if tied else set())
    weights = {name: tensor for name, tensor in backbone.state_dict().items() if name not in left_out}
    write_tensors(folder / "model.safetensors", {name: tensor.clone() for name, tensor in weights.items()})
    config = backbone.config.to_dict()
    for derived in ("transformers_version", "_name_or_path", "scale_decoder_outputs"):
        config.pop(derived, None)
    # Its `generate` sizes the cache by the encoder's depth; a deeper decoder must do without.
    use_cache = backbone.config.num_decoder_layers <= backbone.config.num_layers
    stated = {"architectures": [type(backbone).__name__], "dtype": "float32", "tie_word_embeddings": tied}
    write_json(folder / "config.json", config | stated | {"use_cache": use_cache})
    generation = GenerationConfig(**{**backbone.generation_config.to_dict(), "use_cache": use_cache})
    generation.save_pretrained(folder)


def _write_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """The tokenizer; transformers 4 has other names for its class and for its extra tokens."""
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    if tokenizer.is_fast:
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    extra = settings.pop("extra_special_tokens", None)
    if isinstance(extra, list):
        settings["additional_special_tokens"] = extra
    write_json(file, settings)


def _write_pickle(path: Path, tensors: dict[str, Tensor]) -> None:
    """As torch.save, which does not say why a file cannot be written."""
    content = io.BytesIO()
    torch.save(tensors, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())
