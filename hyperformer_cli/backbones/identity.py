"""Hashes by which a backbone is recognised as the one that something was trained on."""

import hashlib
import json

import torch
from torch import nn
from transformers import PreTrainedConfig

from hyperformer_cli.backbones.families import family_of


def configuration_hash(config: PreTrainedConfig) -> str:
    """SHA-256 of what determines the tensors' shapes and the arithmetic, to recognise a backbone of another shape."""
    values = [getattr(config, key, None) for key in family_of(config).identity]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def frozen_hash(backbone: nn.Module) -> str:
    """SHA-256 over the bytes of the frozen parameters, in the order of their names."""
    digest = hashlib.sha256()
    for name, parameter in sorted(backbone.named_parameters(prefix="backbone")):
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
