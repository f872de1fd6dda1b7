"""Backbone families, one file each, and the table that finds the one of a model.

To add a family, write its file and put one entry here: the `model_type` of transformers it covers and where it is.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from hyperformer_cli.backbones.family import Family
from hyperformer_cli.errors import InputError

_FAMILIES = "hyperformer_cli.backbones.families"
_LIKE_LLAMA = (
    "apertus", "arcee", "cohere", "cohere2", "ernie4_5", "exaone4", "gemma", "gemma2", "gemma3_text", "glm", "glm4",
    "gpt_oss", "granite", "helium", "llama", "ministral", "mistral", "mixtral", "olmo2", "olmo3", "olmoe", "phi",
    "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "seed_oss", "smollm3", "stablelm", "starcoder2",
)  # fmt: skip
# By `model_type` of transformers: `module:attribute`.
FAMILIES: dict[str, str] = {
    **dict.fromkeys(("t5", "mt5", "umt5"), f"{_FAMILIES}.t5:T5"),
    "t5gemma": f"{_FAMILIES}.t5gemma:T5GEMMA",
    **dict.fromkeys(("bart", "mbart"), f"{_FAMILIES}.bart:BART"),
    **dict.fromkeys(_LIKE_LLAMA, f"{_FAMILIES}.decoder_only:LLAMA"),
    "gpt2": f"{_FAMILIES}.decoder_only:GPT2",
    "gpt_neox": f"{_FAMILIES}.decoder_only:GPT_NEOX",
}


def family_of(model_type: str | PreTrainedConfig) -> Family:
    """The family of a model, by its configuration or the `model_type` in it.

    Raises:
        InputError: no family covers the architecture; the message lists those that are covered.
    """
    name = model_type if isinstance(model_type, str) else model_type.model_type
    if name not in FAMILIES:
        covered = "; ".join(f"the {family.label} family ({', '.join(types)})" for family, types in _covered().items())
        raise InputError(f"architecture '{name}' is not supported{_reason(name)}. Supported: {covered}")
    return _load(FAMILIES[name])


def _reason(name: str) -> str:
    """Why an architecture has no family, where that is a matter of its kind."""
    if f"{name}_text" in FAMILIES:
        return f": it reads images too; its text model, '{name}_text', is supported on its own"
    if name in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return ": it reads images too; take a model of text alone"
    if name in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return ": an encoder, which writes no text"
    return ""


def auto_class(family: Family) -> Any:
    """The class of transformers that loads and builds the family's models."""
    return getattr(transformers, family.layout.auto_class)


def published_shape(name: str) -> dict[str, Any] | None:
    """The configuration of a published checkpoint, known without network; None for any other name, and for a folder."""
    if Path(name).is_dir():
        return None
    return next((shape for family in _covered() if (shape := family.published(name)) is not None), None)


def _covered() -> dict[Family, list[str]]:
    """Every family with its model types."""
    covered: dict[Family, list[str]] = {}
    for name, place in FAMILIES.items():
        covered.setdefault(_load(place), []).append(name)
    return covered


def _load(place: str) -> Family:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
