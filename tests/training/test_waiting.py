"""A training step does not wait for the device, but where transformers looks whether a mask is needed."""

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.step import LossFunction, OptimizerStep
from hyperformer_cli.training.meter import LossMeter
from hyperformer_cli.training.setup import prepare

# Operators whose result the host must know: `.item()`, `bool(tensor)`, `.tolist()`, selection by a mask.
_WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique", "aten::equal", "is_nonzero")


class Waits(TorchDispatchMode):
    """Notes which file's code made each call that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if any(name in func.name() for name in _WAITING):
            files = [Path(frame.filename) for frame in traceback.extract_stack()[:-1]]
            callers = [file.name for file in files if "torch" not in file.parts]
            self.files.append(callers[-1])
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=["one task", "mixed tasks"])
def steps(request: pytest.FixtureRequest, recipe_values: dict[str, Any]) -> Callable[[int], None]:
    values = {**recipe_values, "training": {**recipe_values["training"], "batch_size": 16}}
    values["data"] = {**values["data"], "sampling": {"mixed_batches": request.param == "mixed tasks"}}
    recipe = build_recipe(values)
    setup = prepare(recipe, make_accelerator(recipe.training))
    loss = LossFunction(setup.model, setup.wrapped_model, setup.tokenization.encoding.pad_id, setup.accelerator)
    splits = {number: setup.data["train"][task.name] for number, task in enumerate(setup.tasks)}
    make_step = OptimizerStep(loss, splits, setup.optimizer, setup.schedule, recipe)
    meter = LossMeter(setup.model.tasks, setup.accelerator.device)

    def run(step: int) -> None:
        prepared = make_step.prepare(setup.sampler.batch(step))
        meter.add(prepared, make_step(prepared))

    return run


def test_no_step_between_two_lines_of_the_log_waits_for_the_device(steps: Callable[[int], None]) -> None:
    steps(0)
    with Waits() as waits:
        for step in range(1, 4):
            steps(step)
        assert set(waits.files) <= {"masking_utils.py"}  # of transformers: whether rows are padded
        assert float(torch.ones(2).sum()) == 2 and waits.files[-1] == Path(__file__).name
