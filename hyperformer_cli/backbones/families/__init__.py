"""Backbone families, one file each, and the table that finds the one of a model.

To add a family, write its file and put one entry here: the `model_type` of transformers it covers and where it is.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig

from hyperformer_cli.backbones.family import Family
from hyperformer_cli.errors import InputError

# By `model_type` of transformers: `module:attribute`.
FAMILIES: dict[str, str] = {
    "t5": "hyperformer_cli.backbones.families.t5:T5",
    "mt5": "hyperformer_cli.backbones.families.t5:T5",
    "umt5": "hyperformer_cli.backbones.families.t5:T5",
}


def family_of(model_type: str | PreTrainedConfig) -> Family:
    """The family of a model, by its configuration or the `model_type` in it.

    Raises:
        InputError: no family covers the architecture; the message lists those that are covered.
    """
    name = model_type if isinstance(model_type, str) else model_type.model_type
    if name not in FAMILIES:
        covered = "; ".join(f"the {family.label} family ({', '.join(types)})" for family, types in _covered().items())
        raise InputError(f"architecture '{name}' is not supported. Supported: {covered}")
    return _load(FAMILIES[name])


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
