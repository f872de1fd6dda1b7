"""HyperFormer and HyperFormer++: multi-task adapter tuning with shared hypernetworks.

Mahabadi et al., *Parameter-efficient Multi-task Fine-tuning for Transformers via Shared Hypernetworks*,
ACL 2021, https://aclanthology.org/2021.acl-long.47.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hyperformer_cli.adapters.counting import count_parameters
    from hyperformer_cli.adapters.forms import AdapterWeights
    from hyperformer_cli.adapters.model import AdaptedModel
    from hyperformer_cli.adapters.sites import AdapterSite
    from hyperformer_cli.config.adapter import AdapterConfig
    from hyperformer_cli.config.loading import load_recipe

# Imported on first use, so that the command line answers before torch is loaded.
_HOMES = {
    "AdaptedModel": "hyperformer_cli.adapters.model",
    "AdapterConfig": "hyperformer_cli.config.adapter",
    "AdapterSite": "hyperformer_cli.adapters.sites",
    "AdapterWeights": "hyperformer_cli.adapters.forms",
    "count_parameters": "hyperformer_cli.adapters.counting",
    "load_recipe": "hyperformer_cli.config.loading",
}

__all__ = [
    "AdaptedModel",
    "AdapterConfig",
    "AdapterSite",
    "AdapterWeights",
    "__version__",
    "count_parameters",
    "load_recipe",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
