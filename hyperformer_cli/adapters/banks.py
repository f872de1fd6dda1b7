"""Banks: where adapter weights come from.

A bank answers one question: given the tasks of this batch, what are the adapter tensors of every site? It is a module
that is called with distinct task ids and returns one tensor per `TensorGroup`, (sites, tasks, *shape). It knows neither
the adapter form nor the backbone, and the backbone never knows which bank is on.

    StoredBank         stored tensors, one adapter per task and site (Adapters, Adapters-dagger)
    HypernetworkBank   generated from task embeddings                (HyperFormer, HyperFormer++; `hypernetworks`)
    FrozenBank         generated before                              (evaluation, export)
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hyperformer_cli.adapters.tensor_groups import Stacked, TensorGroup
from hyperformer_cli.config.adapter import AdapterConfig


class StoredBank(nn.Module):
    """Adapters stored as slices of one tensor per group; what the form shares between tasks is one per site.

    With `shared_by_tasks` there is one slice, which all tasks see.
    """

    def __init__(self, config: AdapterConfig, groups: Sequence[TensorGroup]):
        super().__init__()
        self._groups, self._shared = list(groups), bool(config.shared_by_tasks)
        tasks = 1 if self._shared else len(config.tasks)
        self.stacks = nn.ModuleDict({group.stack: nn.Module() for group in groups})
        for group in groups:
            slices = (tasks,) if group.spec.per_task else ()
            start = group.spec.start((len(group.sites), *slices, *group.spec.shape))
            put(self.stacks[group.stack], group.parameter, nn.Parameter(start))

    def forward(self, tasks: Sequence[int]) -> Stacked:
        return {group.key: self._of_tasks(group, tasks) for group in self._groups}

    def _of_tasks(self, group: TensorGroup, tasks: Sequence[int]) -> Tensor:
        stored = self.stacks[group.stack].get_parameter(group.parameter)
        if not group.spec.per_task:
            return shared_by_tasks(stored, len(tasks))
        if self._shared:
            return stored.expand(-1, len(tasks), *stored.shape[2:])
        return select_tasks(stored, tasks, dim=1)

    @torch.no_grad()
    def set_adapters(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        """Copies a task's adapters, by `<stack>.<layer>.<position>.<tensor>`, into its slices."""
        for group in self._groups:
            stored = self.stacks[group.stack].get_parameter(group.parameter)
            for own, site in zip(stored, group.sites, strict=True):
                place = own[0 if self._shared else task] if group.spec.per_task else own
                place.copy_(tensors[f"{site.path}.{group.name}"])

    def add_task(self, init_from: int | None) -> None:
        """Appends a task: its adapters copies of another's, or newly initialised."""
        for group, stored in self._per_task():
            fresh = group.spec.start((len(group.sites), 1, *group.spec.shape)).to(stored.device)
            put(self.stacks[group.stack], group.parameter, grow(stored, 1, init_from, fresh))

    def remove_task(self, task: int) -> None:
        """Drops a task's adapters."""
        for group, stored in self._per_task():
            put(self.stacks[group.stack], group.parameter, shrink(stored, 1, task))

    def _per_task(self) -> list[tuple[TensorGroup, nn.Parameter]]:
        """The groups that have a slice per task, with their parameters."""
        groups = [] if self._shared else [group for group in self._groups if group.spec.per_task]
        return [(group, self.stacks[group.stack].get_parameter(group.parameter)) for group in groups]


class FrozenBank(nn.Module):
    """Tensors of all tasks, generated once and kept as buffers."""

    def __init__(self, stacked: Mapping[str, Tensor]):
        super().__init__()
        self._keys = list(stacked)
        for number, tensor in enumerate(stacked.values()):
            self.register_buffer(f"tensor_{number}", tensor.detach())

    def forward(self, tasks: Sequence[int]) -> Stacked:
        return {
            key: select_tasks(self.get_buffer(f"tensor_{number}"), tasks, dim=1)
            for number, key in enumerate(self._keys)
        }


def put(module: nn.Module, path: str, value: nn.Parameter | nn.Module) -> None:
    """Sets a parameter or module at a dotted path below a module, with modules on the way where they are missing."""
    *parents, name = path.split(".")
    for parent in parents:
        if not hasattr(module, parent):
            module.add_module(parent, nn.Module())
        module = module.get_submodule(parent)
    setattr(module, name, value)


def shared_by_tasks(stored: Tensor, tasks: int) -> Tensor:
    """(sites, *shape) -> (sites, tasks, *shape), without a copy."""
    return stored.unsqueeze(1).expand(-1, tasks, *stored.shape[1:])


def select_tasks(stored: Tensor, tasks: Sequence[int], dim: int) -> Tensor:
    """The slices of `tasks` along `dim`; a view where one task is asked for, which is the common case."""
    if len(tasks) == 1:
        return stored.narrow(dim, tasks[0], 1)
    return stored.index_select(dim, torch.tensor(tasks).to(stored.device, non_blocking=True))


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
