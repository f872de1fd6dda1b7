"""Compiled layers: the losses and gradients of eager ones, and no graphs for more tasks, rows or lengths."""

import pytest
import torch
from torch._dynamo.utils import counters

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.engine.loss import batch_losses
from tests.backbones.tiny_backbones import tiny_backbone, token_ids

# Task ids, longest source, longest target: another length, other rows, one task in place of several.
BATCHES = (
    ([0, 1, 2, 3], 6, 4),
    ([0, 1, 1, 2], 7, 5),
    ([3, 1, 1, 3, 0], 9, 6),
    ([2, 2, 2], 5, 7),
    ([0, 0, 1, 2, 3, 3], 8, 3),
    ([1, 1, 1, 1, 1, 1], 6, 6),
    ([1, 3, 3, 1, 1, 1, 2], 7, 7),
)


@pytest.mark.parametrize(
    ("model_type", "adapter"),
    [
        pytest.param("t5", {"method": "hyperformer++"}, id="t5", marks=pytest.mark.slow),
        pytest.param("llama", {"method": "adapters", "form": "lora", "rank": 2}, id="llama-lora"),
    ],
)
def test_few_graphs_serve_every_batch(model_type: str, adapter: dict) -> None:
    torch._dynamo.reset()
    config = AdapterConfig(**adapter, tasks=["a", "b", "c", "d"])
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(AdaptedModel.attach(tiny_backbone(model_type), config).train())
    models[1].compile_layers(backend="eager")
    graphs = []
    for task_ids, source, target in BATCHES * 2:
        rows = range(len(task_ids))
        batch = models[0].family.layout.training_batch(
            token_ids(*(source - i % 2 for i in rows)), token_ids(*(target - i % 2 for i in rows), seed=3), pad_id=0
        )
        counters.clear()
        losses = [batch_losses(model, batch, task_ids) for model in models]
        torch.testing.assert_close(losses[1], losses[0])
        for loss in losses:
            loss.sum().backward()
        graphs.append(counters["stats"]["unique_graphs"])
        assert not counters["graph_break"]
    layers = sum(len(models[1].family.layers(models[1].backbone, stack)) for stack in models[1].family.stacks)
    assert graphs[0] == layers and sum(graphs) <= 6 * layers
    assert not any(graphs[len(BATCHES) :])
    for own, other in zip(models[1].parameters(), models[0].parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)
    torch._dynamo.reset()
