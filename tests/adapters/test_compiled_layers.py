"""Compiled layers: the losses and gradients of eager ones, and no graphs for more tasks or lengths."""

import pytest
import torch
from torch._dynamo.utils import counters

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.engine.loss import batch_losses
from tests.backbones.tiny_backbones import tiny_backbone, token_ids


@pytest.mark.parametrize(
    ("model_type", "adapter"),
    [("t5", {"method": "hyperformer++"}), ("llama", {"method": "adapters", "form": "lora", "rank": 2})],
    ids=["t5", "llama-lora"],
)
def test_tasks_and_lengths_share_graphs(model_type: str, adapter: dict) -> None:
    torch._dynamo.reset()
    config = AdapterConfig(**adapter, tasks=["a", "b", "c", "d"])
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(AdaptedModel.attach(tiny_backbone(model_type), config).train())
    models[1].compile_layers(backend="eager")
    graphs = []
    for task, (source, target) in enumerate([(4, 3), (6, 4), (7, 5), (9, 6), (5, 7)]):
        ids = [3 if task == 4 else task] * 2
        batch = models[0].family.layout.training_batch(
            token_ids(source, source - 1), token_ids(target, target - 1, seed=3), pad_id=0
        )
        counters.clear()
        losses = [batch_losses(model, batch, ids) for model in models]
        torch.testing.assert_close(losses[1], losses[0])
        for loss in losses:
            loss.sum().backward()
        graphs.append(counters["stats"]["unique_graphs"])
        assert not counters["graph_break"]
    assert graphs[0] > 0 and graphs[2:] == [0, 0, 0]
    for own, other in zip(models[1].parameters(), models[0].parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)
    torch._dynamo.reset()
