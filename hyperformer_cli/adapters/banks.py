"""Banks: where adapter weights come from.

A bank answers one question: given the tasks of this batch, what are the adapter weights of every site? It is a
module called with distinct task ids that returns, for each stack, `AdapterWeights` with leading dimensions
(sites, tasks), sites in the order of `find_sites`. The backbone never knows which bank is on.

    TaskAdapterBank    stored tensors, one adapter a task and site   (Adapters, Adapters-dagger)
    HypernetworkBank   generated from task embeddings                (HyperFormer, HyperFormer++; `hypernetworks`)
    FrozenBank         generated before                              (evaluation, export)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hyperformer_cli.adapters.sites import STACKS, AdapterSite, Stack
from hyperformer_cli.adapters.weights import AdapterWeights, Norm
from hyperformer_cli.config.adapter import AdapterConfig

_BY_TASK = ("down_weight", "down_bias", "up_weight", "up_bias")
INITIAL_STD = 0.01  # of every linear's weight, stored or generating; biases start at 0


class TaskAdapterBank(nn.Module):
    """Adapters stored as slices of one tensor; their layer norms, one a site, are common to the tasks.

    With `shared_by_tasks` there is one slice, which all tasks see.
    """

    def __init__(self, config: AdapterConfig, sites: Sequence[AdapterSite], hidden: int, bottleneck: int):
        super().__init__()
        self.stacks = nn.ModuleDict(
            {
                stack: StackAdapters(config, sum(site.stack == stack for site in sites), hidden, bottleneck)
                for stack in STACKS
            }
        )

    def forward(self, tasks: Sequence[int]) -> dict[Stack, AdapterWeights]:
        return {stack: adapters(tasks) for stack, adapters in self.stacks.items()}

    def add_task(self, init_from: int | None) -> None:
        """Appends a task: its adapters copies of another's, or newly initialised."""
        for adapters in self.stacks.values():
            adapters.add_task(init_from)

    def remove_task(self, task: int) -> None:
        """Drops a task's adapters."""
        for adapters in self.stacks.values():
            adapters.remove_task(task)


class StackAdapters(nn.Module):
    """The stored adapters of one stack."""

    def __init__(self, config: AdapterConfig, sites: int, hidden: int, bottleneck: int):
        super().__init__()
        self.shared = bool(config.shared_by_tasks)
        tasks = 1 if self.shared else len(config.tasks)
        self.down_weight = nn.Parameter(torch.randn(sites, tasks, bottleneck, hidden) * INITIAL_STD)
        self.down_bias = nn.Parameter(torch.zeros(sites, tasks, bottleneck))
        self.up_weight = nn.Parameter(torch.randn(sites, tasks, hidden, bottleneck) * INITIAL_STD)
        self.up_bias = nn.Parameter(torch.zeros(sites, tasks, hidden))
        self.pre_norm = SharedNorm(sites, hidden) if config.layer_norm_before else None
        self.post_norm = SharedNorm(sites, hidden) if config.layer_norm_after else None

    def forward(self, tasks: Sequence[int]) -> AdapterWeights:
        return AdapterWeights(
            *(
                stored.expand(-1, len(tasks), *stored.shape[2:]) if self.shared else select_tasks(stored, tasks, dim=1)
                for stored in (self.down_weight, self.down_bias, self.up_weight, self.up_bias)
            ),
            *(norm and norm(len(tasks)) for norm in (self.pre_norm, self.post_norm)),
        )

    def add_task(self, init_from: int | None) -> None:
        if self.shared:
            return
        for name in _BY_TASK:
            stored = getattr(self, name)
            fresh = torch.randn_like(stored[:, :1]) * (INITIAL_STD if name.endswith("weight") else 0.0)
            setattr(self, name, grow(stored, 1, init_from, fresh))

    def remove_task(self, task: int) -> None:
        if self.shared:
            return
        for name in _BY_TASK:
            setattr(self, name, shrink(getattr(self, name), 1, task))


class FrozenBank(nn.Module):
    """Weights of all tasks, generated once and kept as buffers."""

    def __init__(self, weights: dict[Stack, AdapterWeights]):
        super().__init__()
        for stack, stacked in weights.items():
            for name, tensor in stacked.named_tensors().items():
                self.register_buffer(f"{stack}_{name}", tensor.detach())

    def forward(self, tasks: Sequence[int]) -> dict[Stack, AdapterWeights]:
        stored = dict(self.named_buffers())
        return {
            stack: AdapterWeights.from_named_tensors(
                {
                    name.removeprefix(f"{stack}_"): select_tasks(tensor, tasks, dim=1)
                    for name, tensor in stored.items()
                    if name.startswith(stack)
                }
            )
            for stack in STACKS
        }


class SharedNorm(nn.Module):
    """A plain layer norm a site, the same for all tasks."""

    def __init__(self, sites: int, hidden: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(sites, hidden))
        self.shift = nn.Parameter(torch.zeros(sites, hidden))

    def forward(self, tasks: int) -> Norm:
        scale, shift = (tensor.unsqueeze(1).expand(-1, tasks, -1) for tensor in (self.scale, self.shift))
        return scale, shift


def select_tasks(stored: Tensor, tasks: Sequence[int], dim: int) -> Tensor:
    """The slices of `tasks` along `dim`; a view where one task is asked for, which is the common case."""
    if len(tasks) == 1:
        return stored.narrow(dim, tasks[0], 1)
    return stored.index_select(dim, torch.tensor(tasks, device=stored.device))


def grow(stored: nn.Parameter, dim: int, copied: int | None, fresh: Tensor) -> nn.Parameter:
    """A parameter one slice longer along `dim`: a copy of slice `copied`, or `fresh`."""
    with torch.no_grad():
        slice_ = fresh if copied is None else stored.narrow(dim, copied, 1)
        return nn.Parameter(torch.cat([stored, slice_], dim=dim), requires_grad=stored.requires_grad)


def shrink(stored: nn.Parameter, dim: int, dropped: int) -> nn.Parameter:
    """A parameter without slice `dropped` of `dim`."""
    kept = [i for i in range(stored.shape[dim]) if i != dropped]
    with torch.no_grad():
        return nn.Parameter(
            stored.index_select(dim, torch.tensor(kept, device=stored.device)), requires_grad=stored.requires_grad
        )
