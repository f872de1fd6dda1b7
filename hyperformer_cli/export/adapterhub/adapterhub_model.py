"""AdapterHub's arithmetic in torch's own modules, with the configuration and the names of an export's files.

The library itself (adapters 1.3) cannot be installed beside transformers 5.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from hyperformer_cli.export.verification import NEW_TOKENS, Outputs


@contextmanager
def attached(backbone: PreTrainedModel, described: dict[str, Any], tensors: dict[str, Tensor]) -> Iterator[None]:
    """Within the block adapters are where AdapterHub puts them: behind the dropout of the layers named in the file.

    Args:
        backbone: a T5.
        described: the content of a task's `adapter_config.json`.
        tensors: the task's adapters, under AdapterHub's names.
    """
    by_layer: dict[str, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        layer, inner = full.split(f".adapters.{described['name']}.")
        by_layer.setdefault(layer, {})[inner] = tensor
    with ExitStack() as hooks:
        for layer, own in by_layer.items():
            bottleneck = _Bottleneck(described["hidden_size"], described["config"]).eval()
            bottleneck.load_state_dict(own)
            dropout = backbone.get_submodule(f"{layer}.dropout")
            hooks.enter_context(dropout.register_forward_hook(lambda _, __, out, adapt=bottleneck: adapt(out)))
        yield


@torch.inference_mode()
def backbone_outputs(backbone: PreTrainedModel, batch: dict[str, Tensor]) -> Outputs:
    """The outputs of a T5 with the adapters that are attached to it."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())  # the default has the encoder's depth
    generate = cast(Callable[..., Tensor], backbone.generate)  # which transformers declares for subclasses only
    ids = generate(
        **inputs, max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1, use_cache=True, past_key_values=cache
    )
    return Outputs(backbone(**batch).logits, ids)


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
