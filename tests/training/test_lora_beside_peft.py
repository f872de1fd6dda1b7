"""Forty steps of our training beside peft's own LoRA: an independent check of the whole path."""

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel, T5Config, T5ForConditionalGeneration

from hyperformer_cli import AdaptedModel
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.data.tokenization import TokenizedSplit
from hyperformer_cli.engine.optimizer import make_optimizer
from hyperformer_cli.engine.step import LossFunction, OptimizerStep

STEPS, ROWS = 40, 8
RECIPE = build_recipe(
    {
        "name": "beside_peft",
        "model": {"init": "random", "tokenizer": "none", "config": {"d_model": 32}},
        "adapter": {"method": "adapters", "form": "lora", "rank": 4, "alpha": 8, "target_modules": ["q", "v", "wo"]},
        "tasks": ["cola"],
        "training": {
            "max_steps": STEPS, "batch_size": ROWS, "micro_batch_size": ROWS, "learning_rate": 1e-3, "warmup_steps": 4,
            "label_smoothing": 0.0,
        },
    }
)  # fmt: skip
SETTINGS = RECIPE.training
SHAPE = {"vocab_size": 64, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}


def backbone() -> PreTrainedModel:
    torch.manual_seed(0)
    return T5ForConditionalGeneration(T5Config(**SHAPE, decoder_start_token_id=0))


def examples() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Inputs of different lengths, and targets that depend on them."""
    generator = np.random.default_rng(0)
    inputs = [generator.integers(3, 64, size=generator.integers(4, 10)) for _ in range(STEPS * ROWS)]
    return inputs, [np.array([3 + ids[0] % 8, 11 + ids[1] % 8, 1]) for ids in inputs]


class Examples:
    """A `TokenizedSplit` of token ids."""

    def __init__(self) -> None:
        self.inputs, self.targets = examples()

    def input_ids(self, row: int) -> np.ndarray:
        return self.inputs[row]

    def target_ids(self, row: int) -> np.ndarray:
        return self.targets[row]


def peft_model() -> Any:
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q", "v", "wo"], lora_dropout=0.0)
    return get_peft_model(backbone(), config)


def pairs(model: AdaptedModel, theirs: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Our slice and peft's parameter of every matrix."""
    found = {}
    for site, weights in model.adapter_weights("cola").items():
        number = {"SelfAttention": 0, "EncDecAttention": 1, "DenseReluDense": 1 if site.stack == "encoder" else 2}
        place = f"{site.stack}.block.{site.layer}.layer.{number[site.position.split('.')[0]]}.{site.position}"
        for name, tensor in weights.named_tensors().items():
            found[f"{site.path}.{name}"] = tensor, theirs[f"base_model.model.{place}.{name}.default.weight"]
    return found


def test_losses_and_weights_follow_pefts() -> None:
    theirs = peft_model().train()
    their_parameters = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
    model = AdaptedModel.attach(backbone(), RECIPE.adapter).train()
    with torch.no_grad():
        start = {name: p.clone() for name, p in their_parameters.items()}
        model.bank.set_adapters(0, {name: p for name, (_, p) in pairs(model, their_parameters).items()})

    accelerator, data = Accelerator(cpu=True), Examples()
    loss_function = LossFunction(model, model, 0, accelerator)
    ours: dict[int, TokenizedSplit] = {0: data}  # type: ignore[dict-item]
    step = OptimizerStep(loss_function, ours, *make_optimizer(model.trained_parameters().values(), SETTINGS), RECIPE)
    their_optimizer, their_schedule = make_optimizer(their_parameters.values(), SETTINGS)
    layout, differences = model.family.layout, []
    for number in range(STEPS):
        rows = range(number * ROWS, (number + 1) * ROWS)
        our_loss = step(step.prepare([(0, row) for row in rows])).rows.losses.sum()
        batch = layout.training_batch([data.inputs[row] for row in rows], [data.targets[row] for row in rows], 0)
        mean = theirs(**batch).loss  # over the tokens: peft and transformers know no sum
        their_loss = mean * (batch["labels"] != -100).sum()
        their_loss.backward()
        torch.nn.utils.clip_grad_norm_(their_parameters.values(), 1.0)
        their_optimizer.step()
        their_schedule.step()
        their_optimizer.zero_grad()
        differences.append(abs(float(our_loss) / their_loss.item() - 1))
    print(f"losses: {max(differences):.2g}, the last {their_loss.item():.3f}")
    assert max(differences) <= 1e-5

    moved = sum(float((p - start[name]).norm() ** 2) for name, p in their_parameters.items()) ** 0.5
    apart = sum(float((mine - p).norm() ** 2) for mine, p in pairs(model, their_parameters).values()) ** 0.5
    print(f"weights: {apart / moved:.2g} of the distance moved, {moved:.3f}")
    assert moved > 0.5 and apart / moved <= 1e-3
