"""Loading a backbone in the precision of its frozen weights, without a copy in float32 on the way."""

from typing import Any

import torch
from transformers import CONFIG_MAPPING, PreTrainedModel

from hyperformer_cli.backbones.families import auto_class
from hyperformer_cli.backbones.family import Family


def load_reduced(name: str, *, family: Family, model_type: str, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """`from_pretrained` in a precision, but layer norms in float32, since a method may train them.

    Args:
        name: as `from_pretrained` takes it.
        family: of the architecture; it knows the layer norms.
        model_type: the architecture.
        dtype: of all other parameters.
        **options: of `from_pretrained`.
    """
    loaded_as = auto_class(family)._model_mapping[CONFIG_MAPPING[model_type]]
    # What transformers keeps in float32 is an attribute of the class; this one is for this loading only.
    norms = {ending.rpartition(".")[0] for ending in family.layer_norms}
    kept = norms | set(loaded_as._keep_in_fp32_modules_strict or ())
    own: Any = type(loaded_as.__name__, (loaded_as,), {"_keep_in_fp32_modules_strict": kept})
    model = own.from_pretrained(name, dtype=dtype, **options)
    model.__class__ = loaded_as
    return model
