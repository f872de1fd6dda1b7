"""`--format adapterhub`: a task's adapters as AdapterHub's library `adapters` loads them, and the T5 they belong to.

    <task>/adapter_config.json       an adapter, without a head
    <task>/adapter.safetensors       its weights
    <task>/pytorch_adapter.bin       the same, for `load_adapter(folder)` as people type it: it reads nothing else
    backbone/                        the T5, with the trained layer norms; the tokenizer

Our adapter is its bottleneck adapter after self-attention (`mh_adapter`) and feed-forward (`output_adapter`), none in
cross-attention, normed before its own residual is added; both round down where r does not divide the hidden size.
Written for adapters 1.3 and transformers 4.57 without either: they cannot be installed beside transformers 5.
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, GenerationConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.verification import NEW_TOKENS, Comparison, Outputs, compare, outputs
from hyperformer_cli.storage.atomic import atomic_path, write_json, write_text
from hyperformer_cli.storage.reference import reference_layer

BACKBONE = "backbone"
CONFIG_FILE, WEIGHTS_FILE, PICKLE_FILE = "adapter_config.json", "adapter.safetensors", "pytorch_adapter.bin"
_VERSION = "adapters.1.3.0"  # without one it takes gelu for gelu_new
_MODEL_TYPES = ("t5", "mt5")


def export_adapterhub(source: ExportSource, folder: Path) -> list[Path]:
    """Writes the adapters of the source's tasks and the backbone.

    Returns:
        The files.

    Raises:
        InputError: the method has no adapters, or the backbone or a task's name is none that AdapterHub takes.
    """
    _check(source)
    for task in source.tasks:
        tensors = adapter_tensors(source.model, task)
        _write_tensors(folder / task / WEIGHTS_FILE, tensors)
        torch.save(tensors, folder / task / PICKLE_FILE)
        write_json(folder / task / CONFIG_FILE, adapter_config(source.model, task))
    _write_backbone(source.model.backbone, folder / BACKBONE)
    _write_tokenizer(source, folder / BACKBONE)
    write_text(folder / "README.md", _readme(source))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def verify_adapterhub(source: ExportSource, folder: Path) -> Comparison:
    """Compares the run with the files as AdapterHub computes them.

    Its arithmetic is written out here in torch's own modules, with the configuration and names of the files.
    """
    backbone = AutoModelForSeq2SeqLM.from_pretrained(folder / BACKBONE, dtype=torch.float32).eval()
    compared: Comparison = {}
    for task in source.tasks:
        config = json.loads((folder / task / CONFIG_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / task / WEIGHTS_FILE)
        pickled = torch.load(folder / task / PICKLE_FILE, weights_only=True)
        if pickled.keys() != tensors.keys() or not all(torch.equal(pickled[name], tensors[name]) for name in tensors):
            compared[task] = float("inf"), False
            continue
        hooks = _attach(backbone, config, tensors)
        found = _outputs(backbone, source.samples[task])
        for hook in hooks:
            hook.remove()
        compared[task] = compare(outputs(source.model, task, source.samples[task]), found)
    return compared


def _check(source: ExportSource) -> None:
    method, model_type = source.model.config.method, source.model.backbone.config.model_type
    if source.model.bank is None:
        reason = "finetune trains all of T5" if method == "finetune" else "adapter_blocks is false"
        raise InputError(f"{source.run.path}: has no adapters to write ({reason}); AdapterHub takes nothing else")
    if model_type not in _MODEL_TYPES:
        raise InputError(f"--format adapterhub: AdapterHub knows {' and '.join(_MODEL_TYPES)}, not {model_type}")
    for task in source.tasks:
        if "." in task or task == BACKBONE:
            raise InputError(f"--format adapterhub: '{task}' cannot be the name of an adapter there")


# What an adapter's folder holds


def adapter_config(model: AdaptedModel, task: str) -> dict[str, Any]:
    """The content of a task's `adapter_config.json`: a BnConfig of adapters 1.3, every field of it."""
    return {
        "config": _bottleneck_config(model.config),
        "hidden_size": model.backbone.config.d_model,
        "model_class": type(model.backbone).__name__,
        "model_name": "",
        "model_type": model.backbone.config.model_type,
        "name": task,
        "version": _VERSION,
    }


def _bottleneck_config(config: AdapterConfig) -> dict[str, Any]:
    ours = {
        "mh_adapter": True,
        "output_adapter": True,
        "cross_adapter": False,
        "reduction_factor": config.reduction_factor,
        "non_linearity": config.non_linearity,
        "ln_before": config.layer_norm_before,
        "ln_after": config.layer_norm_after,
        "residual_before_ln": True,
        "adapter_residual_before_ln": False,
        "original_ln_before": False,
        "original_ln_after": True,
        "is_parallel": False,
        "scaling": 1.0,
        "dropout": 0.0,
    }
    unused = {
        "factorized_phm_W": True, "factorized_phm_rule": False, "hypercomplex_nonlinearity": "glorot-uniform",
        "init_weights": "bert", "init_weights_seed": None, "inv_adapter": None, "inv_adapter_reduction_factor": None,
        "learn_phm": True, "leave_out": [], "phm_bias": True, "phm_c_init": "normal", "phm_dim": 4,
        "phm_init_range": 0.0001, "phm_layer": False, "phm_rank": 1, "shared_W_phm": False, "shared_phm_rule": True,
        "stochastic_depth": 0.0, "use_gating": False,
    }  # fmt: skip
    return ours | unused


def adapter_tensors(model: AdaptedModel, task: str) -> dict[str, Tensor]:
    """A task's adapters under AdapterHub's names."""
    tensors: dict[str, Tensor] = {}
    for site, weights in model.adapter_weights(task).items():
        at = f"{reference_layer(site.stack, site.layer, site.position)}.adapters.{task}"
        named = weights.named_tensors()
        # A norm before is the first module of `adapter_down` and a module of its own, both at once.
        linear = "adapter_down.0"
        if weights.pre_norm is not None:
            linear = "adapter_down.1"
            for norm in ("adapter_down.0", "adapter_norm_before"):
                tensors[f"{at}.{norm}.weight"] = named["pre_norm_scale"]
                tensors[f"{at}.{norm}.bias"] = named["pre_norm_shift"]
        if weights.post_norm is not None:
            tensors[f"{at}.adapter_norm_after.weight"] = named["post_norm_scale"]
            tensors[f"{at}.adapter_norm_after.bias"] = named["post_norm_shift"]
        for kind in ("weight", "bias"):
            tensors[f"{at}.{linear}.{kind}"] = named[f"down_{kind}"]
            tensors[f"{at}.adapter_up.{kind}"] = named[f"up_{kind}"]
    # Views into the tensors of all tasks, whose whole memory a pickle would hold.
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


# What the backbone's folder holds


def _write_backbone(backbone: PreTrainedModel, folder: Path) -> None:
    """The T5 in the terms of transformers 4, where `tie_word_embeddings` also says whether the output is scaled."""
    tied = getattr(backbone.config, "scale_decoder_outputs", False)
    left_out = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"} | ({"lm_head.weight"} if tied else set())
    weights = {name: tensor for name, tensor in backbone.state_dict().items() if name not in left_out}
    _write_tensors(folder / "model.safetensors", {name: tensor.clone() for name, tensor in weights.items()})
    config = backbone.config.to_dict()
    for derived in ("transformers_version", "_name_or_path", "scale_decoder_outputs"):
        config.pop(derived, None)
    # Its `generate` sizes the cache by the encoder's depth; a deeper decoder must do without.
    use_cache = len(backbone.decoder.block) <= len(backbone.encoder.block)
    stated = {"architectures": [type(backbone).__name__], "dtype": "float32", "tie_word_embeddings": tied}
    write_json(folder / "config.json", config | stated | {"use_cache": use_cache})
    generation = GenerationConfig(**{**backbone.generation_config.to_dict(), "use_cache": use_cache})
    generation.save_pretrained(folder)


def _write_tokenizer(source: ExportSource, folder: Path) -> None:
    """The tokenizer; transformers 4 knows a class of transformers 5 by another name, and its extra tokens too."""
    source.tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    if source.tokenizer.is_fast:
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    extra = settings.pop("extra_special_tokens", None)
    if isinstance(extra, list):
        settings["additional_special_tokens"] = extra
    write_json(file, settings)


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


# AdapterHub's arithmetic


def _attach(backbone: PreTrainedModel, described: dict[str, Any], tensors: dict[str, Tensor]) -> list[Any]:
    """Puts adapters where AdapterHub does, behind the dropout of the layers named in the file."""
    hidden, name, config = described["hidden_size"], described["name"], described["config"]
    by_layer: dict[str, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        layer, inner = full.split(f".adapters.{name}.")
        by_layer.setdefault(layer, {})[inner] = tensor
    hooks = []
    for layer, own in by_layer.items():
        bottleneck = _Bottleneck(hidden, config).eval()
        bottleneck.load_state_dict(own)
        dropout = backbone.get_submodule(layer).dropout
        hooks.append(dropout.register_forward_hook(lambda _, __, output, bottleneck=bottleneck: bottleneck(output)))
    return hooks


class _Bottleneck(nn.Module):
    """`Adapter` of adapters/methods/modeling.py, as far as our configuration uses it."""

    def __init__(self, hidden: int, config: dict[str, Any]):
        super().__init__()
        inner = int(hidden // config["reduction_factor"])
        modules: list[nn.Module] = []
        if config["ln_before"]:
            self.adapter_norm_before = nn.LayerNorm(hidden)
            modules.append(self.adapter_norm_before)
        self.adapter_down = nn.Sequential(*modules, nn.Linear(hidden, inner), ACT2FN[config["non_linearity"]])
        self.adapter_up = nn.Linear(inner, hidden)
        self.adapter_norm_after = nn.LayerNorm(hidden) if config["ln_after"] else nn.Identity()

    def forward(self, hidden: Tensor) -> Tensor:
        return self.adapter_norm_after(self.adapter_up(self.adapter_down(hidden))) + hidden


@torch.inference_mode()
def _outputs(backbone: PreTrainedModel, samples: dict[str, Tensor]) -> Outputs:
    inputs = {name: samples[name] for name in ("input_ids", "attention_mask")}
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())  # the default has the encoder's depth
    ids = backbone.generate(
        **inputs, max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1, use_cache=True, past_key_values=cache
    )
    return Outputs(backbone(**samples).logits, ids)


def _readme(source: ExportSource) -> str:
    task = source.declared[source.tasks[0]]
    example = re.sub(r"{[^}]*}", "some text", task.input_template(source.recipe.adapter.needs_task_prefix))
    answer = longest_target([task], source.tokenizer)[task.name]
    return _README.format(run=source.recipe.name, task=task.name, example=json.dumps(example), max_new_tokens=answer)


_README = """# {run} for AdapterHub

Every folder but `backbone` is an adapter of the library `adapters`, named for its task. `backbone` is the T5 they were
trained on, with the layer norms that were trained with them: on a T5 as it was published they are not the same model.
`load_adapter` reads `pytorch_adapter.bin`, a pickle of nothing but tensors; with `use_safetensors=True` it reads
`adapter.safetensors`, which holds the same.

```bash
pip install 'adapters==1.3.0' 'transformers~=4.57.6' safetensors sentencepiece
```

Run in this folder:

```python
import adapters
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

model = AutoModelForSeq2SeqLM.from_pretrained("backbone")
adapters.init(model)
model.load_adapter("{task}")
model.set_active_adapters("{task}")
model.eval()
tokenizer = AutoTokenizer.from_pretrained("backbone")
ids = model.generate(**tokenizer({example}, return_tensors="pt"), max_new_tokens={max_new_tokens}, do_sample=False)
print(tokenizer.batch_decode(ids, skip_special_tokens=True))
```
"""
