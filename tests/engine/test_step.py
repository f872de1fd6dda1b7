"""An optimizer step is the same however its examples are cut into micro-batches."""

import pytest
import torch
from torch import Tensor

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.config.sections import TrainingSection
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.step import LossFunction, OptimizerStep, PreparedStep
from hyperformer_cli.training.setup import Setup, prepare


@pytest.fixture(params=[False, True], ids=["one task", "mixed tasks"])
def setup_and_values(request: pytest.FixtureRequest, recipe_values: dict) -> tuple[Setup, dict]:
    values = {**recipe_values, "data": {**recipe_values["data"], "sampling": {"mixed_batches": request.param}}}
    values["model"]["config"]["dropout_rate"] = 0.0
    values["training"] = {**values["training"], "batch_size": 32, "micro_batch_size": 8}
    return prepare(build_recipe(values), make_accelerator(TrainingSection())), values


def step_maker(setup: Setup, values: dict, **training: str) -> OptimizerStep:
    recipe = build_recipe({**values, "training": {**values["training"], **training}})
    pad_id = setup.tokenization.encoding.pad_id
    loss_function = LossFunction(setup.model, setup.wrapped_model, pad_id, setup.accelerator)
    splits = {number: setup.data["train"][task.name] for number, task in enumerate(setup.tasks)}
    return OptimizerStep(loss_function, splits, setup.optimizer, setup.schedule, recipe)


def gradients(setup: Setup, make_step: OptimizerStep, step: PreparedStep) -> dict[str, Tensor]:
    setup.model.zero_grad()
    for batch in step.micro_batches:
        (step.scale * make_step.loss_function(batch, smoothing=0.1).losses.sum()).backward()
    return {name: p.grad.clone() for name, p in setup.model.trained_parameters().items() if p.grad is not None}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_the_gradient_is_the_same_by_length_and_as_drawn(
    dtype: torch.dtype, tolerance: float, setup_and_values: tuple[Setup, dict]
) -> None:
    setup, values = setup_and_values
    setup.model.to(dtype)
    examples = setup.sampler.batch(0)
    by_cut = {}
    for cut in ("tokens", "rows"):
        make_step = step_maker(setup, values, micro_batching=cut)
        step = make_step.prepare(examples)
        assert sum(len(batch.task_ids) for batch in step.micro_batches) == step.examples == 32
        by_cut[cut] = step.padded_tokens, gradients(setup, make_step, step)
    (padded, found), (padded_as_drawn, expected) = by_cut["tokens"], by_cut["rows"]
    assert padded < padded_as_drawn
    assert found.keys() == expected.keys() and len(found) > 10
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= tolerance * gradient.norm(), name


def test_the_padding_that_is_logged_is_that_of_the_tensors(setup_and_values: tuple[Setup, dict]) -> None:
    setup, values = setup_and_values
    step = step_maker(setup, values, micro_batching="tokens").prepare(setup.sampler.batch(3))
    masks = [batch.tensors["attention_mask"] for batch in step.micro_batches]
    assert step.input_tokens == sum(int(mask.sum()) for mask in masks)
    assert step.padded_tokens == sum(mask.numel() for mask in masks)


def test_a_micro_batch_holds_no_more_than_rows_of_full_length(setup_and_values: tuple[Setup, dict]) -> None:
    setup, values = setup_and_values
    step = step_maker(setup, values, micro_batching="tokens").prepare(setup.sampler.batch(5))
    for batch in step.micro_batches:
        assert batch.tensors["input_ids"].numel() <= 8 * 32
        if values["data"]["sampling"]["mixed_batches"]:  # every row has adapter weights of its own
            assert len(batch.task_ids) <= 8
