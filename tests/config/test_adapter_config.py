"""AdapterConfig: defaults by method, and nothing silently ignored."""

import pytest

from hyperformer_cli import AdapterConfig
from hyperformer_cli.config.adapter import METHODS


@pytest.mark.parametrize("method", METHODS)
def test_round_trips(method: str) -> None:
    config = AdapterConfig(method=method, tasks=["cola", "rte"])
    assert AdapterConfig(**config.model_dump()) == config


def test_the_papers_embedding_sizes() -> None:
    sizes = {
        method: (c.task_embedding_dim, c.projected_task_embedding_dim, c.projector_hidden_dim, c.project_task_embedding)
        for method in METHODS
        if (c := AdapterConfig(method=method, tasks=["cola"]))
    }
    assert sizes["hyperformer"] == (512, 64, 128, True)
    assert sizes["hyperformer++"] == sizes["hyperformer-shared-layers"] == (64, 64, 128, False)
    assert sizes["adapters"] == sizes["finetune"] == (None, None, None, None)


def test_without_the_projector_the_task_embedding_has_the_heads_size() -> None:
    config = AdapterConfig(method="hyperformer", tasks=["cola"], project_task_embedding=False)
    assert (config.task_embedding_dim, config.projected_task_embedding_dim) == (64, 64)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"method": "finetune", "reduction_factor": 32}, "does not use reduction_factor"),
        ({"method": "finetune", "train_layer_norms": False}, "does not use train_layer_norms"),
        ({"method": "adapters", "task_embedding_dim": 64}, "does not use task_embedding_dim"),
        ({"method": "adapters", "conditional_layer_norm": True}, "does not use conditional_layer_norm"),
        ({"method": "hyperformer++", "conditional_layer_norm": False}, "always true"),
        ({"method": "hyperformer++", "project_task_embedding": True, "task_embedding_dim": 32,
          "projected_task_embedding_dim": 64}, "must equal task_embedding_dim"),
        ({"method": "hyperformer", "project_task_embedding": False, "task_embedding_dim": 32,
          "projected_task_embedding_dim": 64}, "must equal task_embedding_dim"),
        ({"method": "adapters", "adapter_blocks": False, "train_layer_norms": False}, "nothing is left to train"),
        ({"method": "adapters", "tasks": []}, "at least 1"),
        ({"method": "adapters", "tasks": ["cola", "cola"]}, "duplicate"),
        ({"method": "adapters", "non_linearity": "gelus"}, "gelu_new"),
        ({"method": "adapters", "reduction_factor": 0}, "greater than or equal to 1"),
        ({"method": "adapters", "reduction_factor": "16"}, "integer"),
        ({"method": "adapter"}, "hyperformer"),
        ({"method": "adapters", "form": "bottlenek"}, "did you mean 'bottleneck'"),
        ({"method": "finetune", "form": "bottleneck"}, "does not use form"),
        ({"method": "adapters", "bottleneck": 4}, "not permitted"),
    ],
)  # fmt: skip
def test_refuses_what_the_method_does_not_use(values: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        AdapterConfig(**{"tasks": ["cola"], **values})


def test_every_non_linearity_exists_in_transformers() -> None:
    from typing import get_args

    from transformers.activations import ACT2FN

    from hyperformer_cli.config.forms import NonLinearity

    assert set(get_args(NonLinearity)) <= set(ACT2FN)
