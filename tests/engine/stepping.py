"""Steps of every method in float64 on a random T5, in as many processes as there are."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import T5Config, T5ForConditionalGeneration

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.identity import frozen_hash
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.config.sections import TrainingSection
from hyperformer_cli.data.sampling import TemperatureSampler
from hyperformer_cli.engine import loss
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.optimizer import make_optimizer
from hyperformer_cli.engine.scoring import Evaluator
from hyperformer_cli.engine.sharded import shard_model
from hyperformer_cli.engine.step import LossFunction, OptimizerStep

SHAPE = {"vocab_size": 64, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
TASKS = ["a", "b", "c"]


@dataclass(frozen=True)
class RandomRows:
    """Token ids instead of a tokenised data set."""

    inputs: list[list[int]]
    targets_: list[list[int]]

    @classmethod
    def draw(cls, rows: int, seed: int) -> "RandomRows":
        generator = random.Random(seed)

        def ids(most: int) -> list[list[int]]:
            return [[generator.randrange(3, 64) for _ in range(generator.randrange(2, most))] for _ in range(rows)]

        return cls(ids(20), ids(6))

    def __len__(self) -> int:
        return len(self.inputs)

    def input_ids(self, row: int) -> list[int]:
        return self.inputs[row]

    def target_ids(self, row: int) -> list[int]:
        return self.targets_[row]

    def input_lengths(self) -> np.ndarray:
        return np.array([len(ids) for ids in self.inputs])


class Ids:
    """In place of a tokenization."""

    pad_id, max_source_length, max_target_length = 0, 20, 6

    @property
    def encoding(self) -> "Ids":
        return self

    @property
    def tokenizer(self) -> "Ids":
        return self

    def decoding(self, generation: object) -> dict[str, Any]:
        return {}

    def targets(self, texts: list[str], limit: int) -> list[list[int]]:
        return [[5, 1] for _ in texts]

    def batch_decode(self, ids: np.ndarray, skip_special_tokens: bool) -> list[str]:
        return [" ".join(str(number) for number in row if number > 1) for row in ids.tolist()]


@dataclass(frozen=True)
class NamedTask:
    name: str
    num_beams: int
    labels = None
    max_target_length = 6


def train_each(cases: list[tuple[dict[str, Any], bool]], shard: bool, steps: int) -> list[dict]:
    """`train` for each case, of a method's options and whether to use gradient checkpointing."""
    return [train(options, shard, steps, checkpointing=checkpointing) for options, checkpointing in cases]


def train(options: dict[str, Any], shard: bool, steps: int, double: bool = True, checkpointing: bool = False) -> dict:
    """Trains and decodes; returns each step's loss, the trained weights, the answers, and the share of bytes held."""
    accelerator = make_accelerator(TrainingSection())
    options = dict(options)
    rate = options.pop("learning_rate", 3e-3)
    torch.manual_seed(0)
    backbone = T5ForConditionalGeneration(T5Config(**SHAPE, dropout_rate=0.0, decoder_start_token_id=0))
    model = AdaptedModel.attach(backbone, AdapterConfig(tasks=TASKS, **options)).train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    if double:
        for parameter in model.parameters():
            parameter.data = parameter.data.double()
        loss.label_smoothed_loss = _smoothed  # ours rounds to float32
    settings = {"batch_size": 16, "micro_batch_size": 3, "learning_rate": rate, "warmup_steps": 2, "max_steps": steps}
    recipe = build_recipe(
        {
            "name": "steps",
            "model": {"init": "random", "config": SHAPE, "tokenizer": "none"},
            "adapter": options,
            "tasks": TASKS,
            "data": {"max_source_length": 20, "max_target_length": 6, "sampling": {"mixed_batches": True}},
            "training": settings,
            "evaluation": {"batch_size": 4},
        }
    )
    optimizer, schedule = make_optimizer(model.trained_parameters().values(), recipe.training)
    whole, size = frozen_hash(model.backbone), _bytes(model.backbone)
    place = accelerator.device, accelerator.num_processes
    wrapped = shard_model(model, *place) if shard else accelerator.prepare(model)
    splits = {number: RandomRows.draw(40, number) for number in range(len(TASKS))}
    step = OptimizerStep(LossFunction(model, wrapped, Ids.pad_id, accelerator), splits, optimizer, schedule, recipe)
    sampler = TemperatureSampler([40, 40, 40], 16, seed=1, mixed_batches=True)
    evaluator = Evaluator(model, Ids(), accelerator, recipe.evaluation)
    losses, answers = [], []
    for number in range(steps):
        if number == 3:  # evaluation in the middle, of rows that do not divide evenly
            model.eval()
            with model.frozen_adapters():
                tasks = [NamedTask("a", 2), NamedTask("b", 1), NamedTask("c", 1)]
                rows = {task.name: RandomRows.draw(9, number) for number, task in enumerate(tasks)}
                answered = evaluator._answer(tasks, "validation", rows)
                answers += [answer.text for own in answered.values() for answer in own]
                ids = torch.tensor([[5, 6, 7, 1]])
                with torch.inference_mode():
                    read = model.encode(input_ids=ids, attention_mask=torch.ones_like(ids), task="a")
                    whole_loss = model(input_ids=ids, labels=ids, task="a").loss
                answers += [f"{float(read.last_hidden_state.sum()):.6f}", f"{float(whole_loss):.6f}"]
            model.train()
        seen = step(step.prepare(sampler.batch(number))).rows.losses.sum()
        losses.append(float(accelerator.reduce(seen.to(accelerator.device), "sum")))
    held = _bytes(model.backbone) / size
    trained = {name: parameter.detach().clone() for name, parameter in model.trained_parameters().items()}
    return {"losses": losses, "weights": trained, "answers": answers, "held": held, "frozen": whole}


def _smoothed(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    flat = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none", label_smoothing=smoothing
    )
    return flat.view(labels.shape).sum(dim=1)


def _bytes(backbone: torch.nn.Module) -> int:
    tensors = [p.to_local() if hasattr(p, "to_local") else p for p in backbone.parameters()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
