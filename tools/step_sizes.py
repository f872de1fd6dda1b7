"""How far one optimizer step moves the adapters:   python -m tools.step_sizes mini/hyperpp [key=value...] [--steps 40]

Takes the first steps of a recipe and measures, in learning rates, the mean distance that the weights of a task's
adapters move per step: for the task of the step, and for the other tasks, whose adapters move too where they share
heads. Also prints how alike the tasks are to the heads: the mean cosine of what these read for two tasks at one site.
"""

import argparse
from collections.abc import Mapping
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional as F

from hyperformer_cli.adapters.hypernetworks import HypernetworkBank, StackHypernetwork
from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.step import LossFunction, OptimizerStep
from hyperformer_cli.training.setup import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    fixed = ("sweep=null", "training.schedule=constant", "training.warmup_steps=0", "evaluation.splits=[validation]")
    recipe = load_recipe(arguments.recipe, [*fixed, *arguments.overrides])
    setup = prepare(recipe, make_accelerator(recipe.training))
    loss_function = LossFunction(
        setup.model, setup.wrapped_model, setup.tokenization.encoding.pad_id, setup.accelerator
    )
    splits = {number: setup.data["train"][task.name] for number, task in enumerate(setup.tasks)}
    step = OptimizerStep(loss_function, splits, setup.optimizer, setup.schedule, recipe, recipe.training.replicas)
    own: list[float] = []
    others: list[float] = []
    norms: list[float] = []
    before = _adapters(setup.model)
    print(f"{recipe.name}: cosine between tasks at a site, at the start: {_likeness(setup.model)}")
    for number in range(arguments.steps):
        batch = setup.sampler.batch(number)
        norms.append(float(step(step.prepare(batch)).gradient_norm))
        after = _adapters(setup.model)
        for task, tensors in after.items():
            moved = fmean(float((tensor - before[task][name]).abs().mean()) for name, tensor in tensors.items())
            (own if task == setup.model.tasks[batch[0][0]] else others).append(moved / recipe.training.learning_rate)
        before = after
    print(f"{recipe.name}: cosine between tasks at a site, after {arguments.steps} steps: {_likeness(setup.model)}")
    print(f"gradient norm before clipping at {recipe.training.max_grad_norm}: {fmean(norms):.0f} (mean)")
    print(f"moved per step, in learning rates: the step's task {fmean(own):.2f}, the others {fmean(others):.2f}")


def _adapters(model: AdaptedModel) -> Mapping[str, Mapping[str, Tensor]]:
    """The down- and up-projections (or both factors of LoRA) of every task, by task and site."""
    named = {task: model.adapter_tensors(task) for task in model.tasks}
    parts = ("down_weight", "up_weight", "lora_A", "lora_B")
    return {
        task: {name: tensor.clone() for name, tensor in tensors.items() if name.endswith(parts)}
        for task, tensors in named.items()
    }


@torch.no_grad()
def _likeness(model: AdaptedModel) -> str:
    bank = model.bank
    if not isinstance(bank, HypernetworkBank):
        return "stored adapters, no heads"
    cosines = []
    embedded = bank.task_projector(bank.task_embedding)
    for stack in bank.stacks.values():
        assert isinstance(stack, StackHypernetwork)
        read = embedded.unsqueeze(0) if stack.site_embedding is None else stack.site_embedding(embedded)
        alike = F.cosine_similarity(read.unsqueeze(1), read.unsqueeze(2), dim=-1)  # (sites, tasks, tasks)
        different = ~torch.eye(alike.shape[-1], dtype=torch.bool).expand_as(alike)
        cosines.append(float(alike[different].mean()))
    return f"{fmean(cosines):.2f}"


if __name__ == "__main__":
    main()
