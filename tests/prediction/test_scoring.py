"""Label likelihoods against a loop over rows, labels and tokens."""

import math

import pytest
import torch
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.engine.answers import label_scores
from hyperformer_cli.engine.likelihood import label_log_likelihoods
from hyperformer_cli.tasks.registry import get_task

TASKS = ["cola", "mnli", "stsb"]
# By task: texts of different lengths, a different number of them, none.
LABELS = {0: [[5, 1], [6, 1]], 1: [[7, 8, 9, 1], [7, 1], [10, 8, 1]], 2: []}
TASK_IDS = [1, 0, 2, 1]


def adapted(method: str) -> AdaptedModel:
    """With every trained weight random, so that tasks differ."""
    torch.manual_seed(0)
    shape = {"vocab_size": 64, "d_model": 16, "d_ff": 32, "d_kv": 4, "num_layers": 2, "num_heads": 4}
    backbone = T5ForConditionalGeneration(T5Config(**shape, decoder_start_token_id=0))
    reduction = {} if method == "finetune" else {"reduction_factor": 4}
    model = AdaptedModel.attach(backbone, AdapterConfig(method=method, tasks=TASKS, **reduction)).eval()
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return model


def batch() -> dict[str, Tensor]:
    ids = torch.randint(3, 64, (4, 7), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def by_hand(model: AdaptedModel, row: int, task_id: int, label: list[int]) -> float:
    """One row alone, without its padding, one token after the other."""
    inputs = batch()
    ids = inputs["input_ids"][row : row + 1, inputs["attention_mask"][row].bool()]
    total, before = 0.0, [0]
    for token in label:
        out = model(input_ids=ids, decoder_input_ids=torch.tensor([before]), task=TASKS[task_id])
        total += float(out.logits[0, -1].log_softmax(0)[token])
        before.append(token)
    return total


@pytest.mark.parametrize("method", ["hyperformer++", "adapters", "finetune"])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_mixed_tasks_and_lengths(method: str, batch_size: int) -> None:
    model, inputs = adapted(method), batch()
    with torch.inference_mode():
        with model.adapting(TASK_IDS):
            begun = model.family.layout.begin(model.backbone, inputs, start_id=0)
        labels = [LABELS[task] for task in TASK_IDS]
        found = label_log_likelihoods(model, *begun, TASK_IDS, labels, batch_size)
        for row, task in enumerate(TASK_IDS):
            assert found[row] == pytest.approx([by_hand(model, row, task, label) for label in LABELS[task]], abs=1e-4)


def test_scores_of_what_would_underflow() -> None:
    scores = label_scores(get_task("mrpc"), [-2000.0, -2000.0 + math.log(3)])
    assert scores == {"not_equivalent": 0.25, "equivalent": 0.75}


@pytest.mark.parametrize("likelihoods", [[math.nan, -1.0], [-math.inf, -math.inf]])
def test_scores_that_the_model_does_not_give_are_null(likelihoods: list[float]) -> None:
    assert label_scores(get_task("mrpc"), likelihoods) == {"not_equivalent": None, "equivalent": None}
