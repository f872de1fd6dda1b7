"""A model whose frozen backbone is divided among processes, while what is trained is replicated by DDP."""

import torch
from torch.nn.parallel import DistributedDataParallel

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.sharding import shard


def shard_model(model: AdaptedModel, device: torch.device, processes: int) -> DistributedDataParallel:
    """Divides the model's backbone and returns the model in DDP, which sees only what is trained.

    Args:
        model: the same on every process; its trained parameters stay the same objects.
        device: the process's own.
        processes: their number.
    """
    for parameter in model.trained_parameters().values():
        parameter.data = parameter.data.to(device)
    if model.bank is not None:
        model.bank.to(device)  # its buffers
    shard(model.backbone, model.family, device, processes)
    trained = model.trained_parameters()
    ignored = [name for name, _ in (*model.named_parameters(), *model.named_buffers()) if name not in trained]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, ignored)
    return DistributedDataParallel(model, find_unused_parameters=False, broadcast_buffers=False)
