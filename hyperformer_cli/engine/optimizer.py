"""AdamW as the reference ran it, and its learning-rate schedule."""

import math
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from hyperformer_cli.config.fewshot import FewshotSection
from hyperformer_cli.config.sections import TrainingSection

EPSILON = 1e-8
BETAS = (0.9, 0.999)


class AdamW(torch.optim.AdamW):
    """torch's AdamW with the epsilon of transformers 3.5.1's: added before the second moment's bias correction.

    Equal to an epsilon of 1e-8 / sqrt(1 - beta2^t) in torch's formula: 3e-7 at the first step, 1e-8 in the end. The
    summed loss is clipped from norms in the thousands to 1, so that many gradients are of this size, and the
    reference's 40-step trajectories are followed to 6e-6 of the distance moved with it, to 2e-2 without.
    """

    def __init__(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float, beta2: float = BETAS[1]):
        super().__init__(parameters, lr=lr, betas=(BETAS[0], beta2), eps=EPSILON, weight_decay=0.0, fused=True)
        for group in self.param_groups:
            group["steps"] = 0
        self.register_step_pre_hook(_set_epsilon)


def _set_epsilon(optimizer: torch.optim.Optimizer, *_: object) -> None:
    for group in optimizer.param_groups:
        group["steps"] += 1
        group["eps"] = EPSILON / math.sqrt(1 - group["betas"][1] ** group["steps"])


def make_optimizer(
    parameters: Iterable[Tensor],
    settings: TrainingSection | FewshotSection,
    training: TrainingSection | None = None,
    heads: Collection[Tensor] = (),
) -> tuple[AdamW, LRScheduler]:
    """The optimizer of the given parameters and its schedule, as a recipe's section describes them.

    Args:
        parameters: what is trained.
        settings: rate and schedule.
        training: what a transfer takes from the run's training; `settings` itself by default.
        heads: those of the parameters whose rate is `head_learning_rate_scale` times the others'.
    """
    training = training or (settings if isinstance(settings, TrainingSection) else TrainingSection())
    groups: list[dict[str, Any]] = [{"params": list(parameters)}]
    if training.head_learning_rate_scale != 1:
        slow = {id(head) for head in heads}
        rate = settings.learning_rate * training.head_learning_rate_scale
        parts = [[one for one in groups[0]["params"] if (id(one) in slow) is own] for own in (False, True)]
        groups = [{"params": parts[0]}, {"params": parts[1], "lr": rate}]
    optimizer = AdamW([group for group in groups if group["params"]], settings.learning_rate, training.beta2)
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    return optimizer, get_scheduler(name, optimizer, settings.warmup_steps, settings.max_steps)
