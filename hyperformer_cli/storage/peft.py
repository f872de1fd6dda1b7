"""A LoRA as PEFT stores it: a folder with `adapter_config.json` and `adapter_model.safetensors`.

`<module>` below is a linear map's name in the model of transformers:

    base_model.model.<module>.lora_A.weight    (rank, input width)
    base_model.model.<module>.lora_B.weight    (output width, rank)

Written folders hold what every version of PEFT, vLLM and llama.cpp read alike: one rank, one alpha, no other trained
modules. What is read may have ranks and alphas by module (`rank_pattern`, `alpha_pattern`) and rsLoRA's scaling, which
are exactly a plain LoRA of the largest rank; anything else that would change the arithmetic is refused by name.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.storage.trained import read_tensors, write_tensors

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<matrix>[AB])(\.default)?\.weight")
# What the arithmetic does not depend on, or is read below. Any other entry must be empty.
_UNDERSTOOD = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "eva_config",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform",
    "lora_alpha", "lora_dropout", "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r",
    "rank_pattern", "revision", "runtime_config", "target_modules", "task_type", "use_rslora",
}  # fmt: skip
_HARMLESS_STARTS = (True, False, None, "gaussian", "eva")  # others change the backbone's weights too


@dataclass(frozen=True)
class PeftLora:
    """One LoRA, `W x + (alpha / rank) B A x` on every module.

    Attributes:
        rank: of all modules.
        alpha: of all modules.
        dropout: of its training.
        matrices: A (rank, input width) and B (output width, rank) by the module's name in the model.
        base_model: the name or path of the model it belongs to, where that is known.
        revision: a commit of `base_model`.
        target_modules: ends of names that fit exactly these modules.
        task_type: PEFT's, such as `CAUSAL_LM`.
        fan_in_fan_out: whether the weights of the modules are (input width, output width): GPT-2's Conv1D.
    """

    rank: int
    alpha: float
    dropout: float
    matrices: Mapping[str, tuple[Tensor, Tensor]]
    base_model: str | None = None
    revision: str | None = None
    target_modules: list[str] = field(default_factory=list)
    task_type: str | None = None
    fan_in_fan_out: bool = False


def write_peft(folder: Path, lora: PeftLora) -> None:
    """Writes both files, the configuration last."""
    tensors = {}
    for module, (a, b) in lora.matrices.items():
        tensors[f"{_PREFIX}{module}.lora_A.weight"], tensors[f"{_PREFIX}{module}.lora_B.weight"] = a, b
    write_tensors(folder / WEIGHTS_FILE, tensors)
    config: dict[str, Any] = {
        "alpha_pattern": {},
        "auto_mapping": None,
        "base_model_name_or_path": lora.base_model,
        "bias": "none",
        "fan_in_fan_out": lora.fan_in_fan_out,
        "inference_mode": True,
        "init_lora_weights": True,
        "layers_pattern": None,
        "layers_to_transform": None,
        "lora_alpha": int(lora.alpha) if float(lora.alpha).is_integer() else lora.alpha,
        "lora_dropout": lora.dropout,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": lora.rank,
        "rank_pattern": {},
        "revision": lora.revision,
        "target_modules": lora.target_modules,
        "task_type": lora.task_type,
        "use_dora": False,
        "use_rslora": False,
    }
    write_json(folder / CONFIG_FILE, config)


def is_peft_folder(folder: Path) -> bool:
    """Whether a folder is one that PEFT wrote."""
    return (folder / CONFIG_FILE).is_file()


def read_peft(folder: Path) -> PeftLora:
    """Reads a folder that PEFT or `write_peft` wrote.

    Raises:
        InputError: it is missing or damaged, is no LoRA, or one that is more than `W x + (alpha / rank) B A x`.
    """
    file = folder / CONFIG_FILE
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: missing or damaged ({type(error).__name__}: {error})") from error
    _check_is_plain(file, config)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file() and (folder / "adapter_model.bin").is_file():
        raise InputError(f"{folder}: has adapter_model.bin, a pickle, which is not read; save it as safetensors")
    matrices = _pairs(weights, read_tensors(weights))
    scalings = {}
    for module, (a, _) in matrices.items():
        own_rank = _by_pattern(config.get("rank_pattern"), module, rank)
        if a.shape[0] != own_rank:
            raise InputError(f"{weights}: {module} has rank {a.shape[0]}, {CONFIG_FILE} says {own_rank}")
        own_alpha = _by_pattern(config.get("alpha_pattern"), module, alpha)
        scalings[module] = own_alpha / (math.sqrt(own_rank) if config.get("use_rslora") else own_rank)
    widest = max(a.shape[0] for a, _ in matrices.values())
    scaling = max(scalings.values())
    return PeftLora(
        rank=widest,
        alpha=scaling * widest,
        dropout=float(config.get("lora_dropout") or 0.0),
        matrices={
            module: with_rank(a, b * (scalings[module] / scaling) if scalings[module] != scaling else b, widest)
            for module, (a, b) in matrices.items()
        },
        base_model=config.get("base_model_name_or_path"),
        revision=config.get("revision"),
        task_type=config.get("task_type"),
        fan_in_fan_out=bool(config.get("fan_in_fan_out")),
    )


def with_rank(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A and B with rows and columns of zeros up to a rank; their product stays."""
    missing = rank - a.shape[0]
    return functional.pad(a, (0, 0, 0, missing)), functional.pad(b, (0, missing))


def _check_is_plain(file: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise InputError(f"{file}: peft_type {config.get('peft_type')!r}; only LORA can be read")
    if config.get("bias") not in (None, "none"):
        raise InputError(f"{file}: bias {config['bias']!r}: it has trained biases, which a LoRA of ours has not")
    start = config.get("init_lora_weights")
    if start not in _HARMLESS_STARTS:
        raise InputError(f"{file}: init_lora_weights {start!r}: belongs to a backbone whose weights were changed")
    for name, value in config.items():
        if name not in _UNDERSTOOD and value not in (None, False, {}, [], "") and name != "loftq_config":
            raise InputError(f"{file}: {name}: {json.dumps(value)[:80]}: only plain LoRA is read")


def _pairs(file: Path, tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _KEY.fullmatch(name)
        if match is None:
            raise InputError(f"{file}: {name}: not a matrix of a LoRA on a linear map")
        found.setdefault(match["module"], {})[match["matrix"]] = tensor.float()
    pairs = {}
    for module, pair in found.items():
        if pair.keys() != {"A", "B"} or pair["A"].dim() != 2 or pair["A"].shape[0] != pair["B"].shape[-1]:
            raise InputError(f"{file}: {module} does not have a lora_A and a lora_B that fit each other")
        if not all(tensor.isfinite().all() for tensor in pair.values()):
            raise InputError(f"{file}: {module} is not finite")
        pairs[module] = pair["A"], pair["B"]
    if not pairs:
        raise InputError(f"{file}: holds no matrices")
    return pairs


def _by_pattern(patterns: Mapping[str, Any] | None, module: str, default: float) -> Any:
    """The value of the first pattern that fits the end of a module's name, as PEFT looks it up."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default
