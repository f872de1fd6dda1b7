"""Backbones: where they come from, how they are named in a run folder, and how they are built without weights."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedConfig, PreTrainedModel

from hyperformer_cli.backbones import hub
from hyperformer_cli.bundled import folder_of
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.errors import InputError, did_you_mean

# Shapes of published checkpoints, for counting and random initialisation without network.
_T5 = {"vocab_size": 32128, "d_kv": 64}
_V1_1 = {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_SHAPES: dict[str, dict[str, Any]] = {
    "t5-small": {**_T5, "d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "t5-base": {**_T5, "d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "t5-large": {**_T5, "d_model": 1024, "d_ff": 4096, "num_layers": 24, "num_heads": 16},
    "t5-3b": {**_T5, "d_model": 1024, "d_kv": 128, "d_ff": 16384, "num_layers": 24, "num_heads": 32},
    "t5-11b": {**_T5, "d_model": 1024, "d_kv": 128, "d_ff": 65536, "num_layers": 24, "num_heads": 128},
    "t5-v1_1-small": {**_V1_1, "d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6},
    "t5-v1_1-base": {**_V1_1, "d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12},
    "t5-v1_1-large": {**_V1_1, "d_model": 1024, "d_ff": 2816, "num_layers": 24, "num_heads": 16},
    "t5-v1_1-xl": {**_V1_1, "d_model": 2048, "d_ff": 5120, "num_layers": 24, "num_heads": 32},
}
# What transformers computes from other values and writes into its files all the same.
_DERIVED = ("is_gated_act", "dense_act_fn", "scale_decoder_outputs", "transformers_version", "architectures")
_OWNERS = {"google-t5/": "t5-", "google/t5-v1_1-": "t5-v1_1-", "google/flan-t5-": "t5-v1_1-"}


@dataclass(frozen=True)
class BackboneSource:
    """Where a backbone comes from; what a run folder needs to find it again.

    Attributes:
        name: a name on the hub, a folder, or `bundled`: the nano T5 of the package.
        revision: branch, tag or commit; a commit once it is loaded.
        init: `pretrained`, or `random`: the shape of `name` without its weights, drawn from `seed`.
        config: values that replace those of the named configuration; all of it where there is no name.
        seed: of the random initialisation.
        dtype: of the frozen weights; trained ones are float32.
    """

    name: str | None
    revision: str | None = None
    init: str = "pretrained"
    config: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not isinstance(getattr(torch, self.dtype, None), torch.dtype):
            raise ValueError(f"{self.dtype!r} is no dtype of torch")

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> "BackboneSource":
        """The backbone a recipe names; a random one is drawn from the recipe's seed."""
        model, is_random = recipe.model, recipe.model.init == "random"
        return cls(
            name=model.name,
            revision=None if is_random else model.revision,
            init=model.init,
            config=model.config,
            seed=recipe.seed if is_random else None,
            dtype=model.dtype,
        )

    @classmethod
    def of(cls, backbone: PreTrainedModel) -> "BackboneSource":
        """What a loaded backbone knows of itself; without a name where it was built from a configuration."""
        config = backbone.config
        dtype = str(backbone.dtype).removeprefix("torch.")
        return cls(config.name_or_path or None, getattr(config, "_commit_hash", None), dtype=dtype)

    @property
    def is_pinned(self) -> bool:
        """Whether a commit says exactly which weights these are; a folder's may change, a random draw's too."""
        return self.init == "pretrained" and re.fullmatch(r"[0-9a-f]{40}", self.revision or "") is not None

    def resolved(self, backbone: PreTrainedModel) -> "BackboneSource":
        """The same with the branch or tag replaced by the commit that was loaded, if it came from the hub."""
        commit = getattr(backbone.config, "_commit_hash", None) or self._cached_commit()
        return replace(self, revision=commit) if commit else self

    def _cached_commit(self) -> str | None:
        """The hub's cache keeps the files of a commit in a folder of its name; transformers forgets it."""
        if self.init == "random" or self.name is None or Path(folder_of(self.name)).is_dir():
            return None
        file = try_to_load_from_cache(self.name, "config.json", revision=self.revision or "main")
        return Path(file).parent.name if isinstance(file, str) else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def load_backbone(source: BackboneSource) -> PreTrainedModel:
    """Loads or builds a backbone, in float32: attaching a method rounds what it freezes to `source.dtype`.

    Raises:
        InputError: an unknown configuration key, no such model, or no connection and no copy on disk.
    """
    if source.init == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(source.seed or 0)
            return build_backbone(backbone_config(source.name, source.config, source.revision))
    if source.config:
        raise InputError("model.config replaces values of a model without weights; it needs model.init=random")
    if source.name is None:
        raise InputError("the backbone was built in memory and has no name: pass backbone= to from_pretrained")
    return _from_hub(AutoModelForSeq2SeqLM.from_pretrained, source.name, source.revision, dtype=torch.float32)


def choose_trained_parameters(backbone: nn.Module, config: AdapterConfig, frozen_dtype: torch.dtype) -> None:
    """Freezes what a method does not train. Trained parameters are float32, whatever the frozen ones are."""
    for name, parameter in backbone.named_parameters():
        is_layer_norm = name.endswith("layer_norm.weight")
        trained = config.method == "finetune" or (config.train_layer_norms and is_layer_norm)
        parameter.requires_grad_(trained)
        parameter.data = parameter.data.to(torch.float32 if trained else frozen_dtype)


def build_backbone(config: PreTrainedConfig) -> PreTrainedModel:
    """A model of a configuration, its weights drawn from torch's generator (or none, on the meta device).

    Raises:
        InputError: no model can be built so.
    """
    try:
        model = AutoModelForSeq2SeqLM.from_config(config)
    except Exception as error:  # whatever the library's layers make of the values
        raise InputError(f"model.config: no model can be built from it: {_first_line(error)}") from error
    if not getattr(config, "scale_decoder_outputs", config.model_type not in ("mt5", "umt5")):
        # T5 v1.1, Flan, mT5 and UMT5 have an output layer of their own; transformers 5 ties it unless a file has it.
        head = torch.empty_like(model.shared.weight).normal_(std=config.initializer_factor)
        model.lm_head.weight = torch.nn.Parameter(head)
    return model


def backbone_config(name: str | None, overrides: dict[str, Any], revision: str | None = None) -> PreTrainedConfig:
    """The configuration `name` has, with `overrides`; published T5 shapes are known without network.

    Raises:
        InputError: a key that such a configuration does not have, or a name that cannot be resolved.
    """
    values = _stated_values(name, revision)
    model_type = overrides.get("model_type", values.pop("model_type", "t5"))
    try:
        known = {"decoder_start_token_id", *AutoConfig.for_model(model_type).to_dict()}
    except (KeyError, ValueError) as error:
        raise InputError(f"model.config.model_type: transformers has no {model_type!r}") from error
    for key in overrides:
        if key not in known:
            raise InputError(
                f"model.config.{key}: a {model_type} configuration has no such key; {did_you_mean(key, known)}"
            )
    values |= overrides | {"model_type": model_type}
    if "num_layers" in overrides and "num_decoder_layers" not in overrides:
        values["num_decoder_layers"] = overrides["num_layers"]
    if values.get("decoder_start_token_id") is None:
        values["decoder_start_token_id"] = values.get("pad_token_id") or 0
    try:
        return AutoConfig.for_model(**values)
    except (StrictDataclassError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"model.config: not a {model_type} configuration: {_first_line(error)}") from error


def _stated_values(name: str | None, revision: str | None) -> dict[str, Any]:
    """What a configuration file states. Not what follows from it: that must follow from overrides too."""
    if name is None:
        return {}
    if is_published_shape(name):
        return {"model_type": "t5", **_SHAPES[_short_name(name)]}
    stated, _ = _from_hub(PreTrainedConfig.get_config_dict, name, revision)
    if stated.get("scale_decoder_outputs") is False:
        stated["tie_word_embeddings"] = False  # as transformers 5 reads it, and does not write it
    return {key: value for key, value in stated.items() if key not in _DERIVED and not key.startswith("_")}


def is_published_shape(name: str) -> bool:
    """Whether a name's configuration is known without network."""
    return _short_name(name) in _SHAPES and not Path(name).is_dir()


def configuration_hash(config: PreTrainedConfig) -> str:
    """SHA-256 of what determines the tensors' shapes and arithmetic, to recognise a wrong backbone."""
    keys = (
        "model_type", "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads",
        "relative_attention_num_buckets", "relative_attention_max_distance", "layer_norm_epsilon",
        "feed_forward_proj", "is_gated_act", "dense_act_fn", "scale_decoder_outputs",
    )  # fmt: skip
    return hashlib.sha256(json.dumps([getattr(config, key, None) for key in keys]).encode()).hexdigest()


def _short_name(name: str) -> str:
    """`google-t5/t5-small` and `t5-small` to `t5-small`; `google/flan-t5-base` to its shape, `t5-v1_1-base`."""
    for owner, short in _OWNERS.items():
        if name.startswith(owner):
            return name.replace(owner, "" if owner == "google-t5/" else short, 1)
    return name


def _from_hub(load: Callable[..., Any], name: str, revision: str | None, **options: Any) -> Any:
    """Calls one of transformers' loaders, with errors for the person at the terminal."""
    name = folder_of(name)
    is_folder = Path(name).is_dir()
    offline = not is_folder and not hub.is_reachable()
    try:
        return load(name, revision=revision or "main", local_files_only=offline, **options)
    except Exception as error:  # OSError, ValueError, SafetensorError, and what a damaged file makes of json
        if offline:
            raise InputError(
                f"model '{name}' is not on this machine and the hub cannot be reached: give a folder with it "
                "(model.name=FOLDER in a recipe, --backbone FOLDER for a run), or run once with a connection"
            ) from error
        raise InputError(
            f"model '{name}' (revision {revision or 'main'}) cannot be loaded: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
