"""One process, two and four train alike; so do processes that divide the backbone among them."""

from pathlib import Path
from typing import Any

import pytest
from ranks import in_processes
from stepping import train

pytestmark = pytest.mark.slow

METHODS: dict[str, dict[str, Any]] = {
    "hyperformer++": {"method": "hyperformer++", "reduction_factor": 4},
    "hyperformer-shared-layers": {"method": "hyperformer-shared-layers", "reduction_factor": 4},
    "hyperformer": {"method": "hyperformer", "reduction_factor": 4},
    "adapters": {"method": "adapters", "reduction_factor": 4, "shared_by_tasks": False},
    "adapters-dagger": {"method": "adapters", "reduction_factor": 4, "shared_by_tasks": True},
    "layer norms": {"method": "adapters", "adapter_blocks": False},
    "frozen layer norms": {"method": "hyperformer++", "reduction_factor": 4, "train_layer_norms": False},
    "lora": {"method": "hyperformer++", "form": "lora", "rank": 2},
}


def difference(one: dict, other: dict) -> tuple[float, float]:
    """The largest relative difference of a step's loss, and the largest of a weight."""
    losses = max(abs(a - b) / abs(a) for a, b in zip(one["losses"], other["losses"], strict=True))
    assert one["weights"].keys() == other["weights"].keys()
    weights = max(float((one["weights"][name] - other["weights"][name]).abs().max()) for name in one["weights"])
    return losses, weights


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_train_as_one(processes: int, tmp_path: Path) -> None:
    [one] = in_processes(train, 1, tmp_path, METHODS["hyperformer++"], False, 60)
    for rank in in_processes(train, processes, tmp_path, METHODS["hyperformer++"], False, 60):
        losses, weights = difference(one, rank)
        assert losses < 1e-11 and weights < 1e-9 and rank["answers"] == one["answers"]


@pytest.mark.parametrize("method", METHODS)
def test_a_sharded_backbone_trains_and_decodes_as_a_whole_one(method: str, tmp_path: Path) -> None:
    [one] = in_processes(train, 1, tmp_path, METHODS[method], False, 20)
    for rank in in_processes(train, 2, tmp_path, METHODS[method], True, 20):
        losses, weights = difference(one, rank)
        assert losses < 1e-11 and weights < 1e-9 and rank["answers"] == one["answers"]
        assert rank["held"] < 0.6 and rank["frozen"] == one["frozen"]


def test_a_sharded_backbone_with_gradient_checkpointing(tmp_path: Path) -> None:
    [one] = in_processes(train, 1, tmp_path, METHODS["hyperformer++"], False, 20)
    for rank in in_processes(train, 2, tmp_path, METHODS["hyperformer++"], True, 20, True, True):
        assert max(difference(one, rank)) < 1e-9
