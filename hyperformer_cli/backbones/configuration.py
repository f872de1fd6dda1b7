"""The shape of a backbone: its configuration by name, with values that override it, and a model built from it."""

from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from hyperformer_cli.backbones.families import auto_class, family_of, published_shape
from hyperformer_cli.backbones.hub import first_lines, load_named
from hyperformer_cli.errors import InputError, did_you_mean

_DEFAULT_TYPE = "t5"


def build_backbone(config: PreTrainedConfig) -> PreTrainedModel:
    """A model of a configuration, its weights drawn from torch's generator (or none, on the meta device).

    Raises:
        InputError: no family covers it, or no model can be built from it.
    """
    family = family_of(config)
    try:
        model = auto_class(family).from_config(config)
    except Exception as error:  # whatever the library's layers make of the values
        raise InputError(f"model.config: no model can be built from it: {first_lines(error)}") from error
    family.after_build(model)
    return model


def backbone_config(name: str | None, overrides: dict[str, Any], revision: str | None = None) -> PreTrainedConfig:
    """The configuration of `name`, with `overrides`; shapes of published checkpoints are known without network.

    Raises:
        InputError: a key that such a configuration does not have, an architecture that no family covers, or a name
            that cannot be resolved.
    """
    stated = _stated_values(name, revision)
    model_type = overrides.get("model_type") or stated.get("model_type") or _DEFAULT_TYPE
    try:
        known = {"decoder_start_token_id", *AutoConfig.for_model(model_type).to_dict()}
    except (KeyError, ValueError) as error:
        raise InputError(f"model.config.model_type: transformers has no {model_type!r}") from error
    for key in overrides:
        if key not in known:
            raise InputError(
                f"model.config.{key}: a {model_type} configuration has no such key; {did_you_mean(key, known)}"
            )
    values = {**family_of(model_type).merge(stated, overrides), "model_type": model_type}
    try:
        return AutoConfig.for_model(**values)
    except (StrictDataclassError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"model.config: not a {model_type} configuration: {first_lines(error)}") from error


def _stated_values(name: str | None, revision: str | None) -> dict[str, Any]:
    """What a configuration file states."""
    if name is None:
        return {}
    published = published_shape(name)
    if published is not None:
        return dict(published)
    stated, _ = load_named(PreTrainedConfig.get_config_dict, name, revision)
    if "model_type" not in stated:
        raise InputError(f"model '{name}': no config.json there, or none that says which model_type it is")
    written = ("transformers_version", "architectures")
    return {key: value for key, value in stated.items() if key not in written and not key.startswith("_")}
