"""A bank attached to a backbone through forward hooks: which adapters are active, and those generated ahead."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hyperformer_cli.adapters.active import ActiveAdapters, ThreadLocalState, distinct_tasks
from hyperformer_cli.adapters.banks import FrozenBank, StoredBank
from hyperformer_cli.adapters.forms import AdapterWeights, make_form
from hyperformer_cli.adapters.hypernetworks import HypernetworkBank
from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.adapters.tensor_groups import Stacked, by_site, group_tensors
from hyperformer_cli.backbones.family import Family
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.errors import InputError

Bank = StoredBank | HypernetworkBank | FrozenBank


class AttachedAdapters:
    """The adapters of one model.

    Args:
        backbone: hooks are put on its modules.
        family: the backbone's.
        config: of a method with adapters.
        bank: adapters made before, in place of the method's own.

    Attributes:
        bank: where their weights come from.
        sites: where they are, in the bank's order.

    Raises:
        InputError: the backbone has adapters already, or the form's options do not fit it.
    """

    def __init__(self, backbone: PreTrainedModel, family: Family, config: AdapterConfig, bank: Bank | None):
        self._form = make_form(config)
        modules = self._form.find_sites(backbone, family)
        self.sites = list(modules)
        self._groups = group_tensors(self._form, self.sites)
        if bank is None:
            with torch.device(backbone.device):
                bank = (HypernetworkBank if config.has_hypernetwork else StoredBank)(config, self._groups)
        self.bank: Bank = bank
        self._active = ThreadLocalState()
        for site, module in modules.items():
            module.register_forward_hook(partial(self._adapt, site))

    @property
    def are_fixed(self) -> bool:
        """Whether this thread has generated them ahead, so that it would not see a change of the bank."""
        return self._active.generated is not None

    def weights(self, tasks: Sequence[int]) -> dict[AdapterSite, AdapterWeights]:
        """The weights of every site: of a single task, or of several with a leading dimension."""
        generated = self._active.generated
        stacked = self._generate(tasks) if generated is None else generated(tasks)
        make = self._form.weights.from_named_tensors
        return {site: make(named) for site, named in by_site(stacked, self._groups).items()}

    @contextmanager
    def of_rows(self, task_ids: Sequence[int]) -> Iterator[None]:
        """Within the block each row of a batch has the adapters of its task; one id serves any number of rows."""
        distinct, places = distinct_tasks(task_ids)
        rows = None if places is None else torch.tensor(places).to(self._device, non_blocking=True)
        with self.activate(ActiveAdapters(self.weights(distinct), rows)):
            yield

    @contextmanager
    def using(self, weights: Mapping[AdapterSite, AdapterWeights]) -> Iterator[None]:
        """Within the block all rows have these adapters."""
        with self.activate(ActiveAdapters(weights, rows=None)):
            yield

    @contextmanager
    def generated_ahead(self, tasks: int) -> Iterator[None]:
        """Within the block the adapters of all tasks are generated once and kept, for this thread."""
        before = self._active.generated
        if before is None:
            with torch.no_grad():
                self._active.generated = FrozenBank(self._generate(range(tasks)))
        try:
            yield
        finally:
            self._active.generated = before

    @contextmanager
    def activate(self, active: ActiveAdapters | None) -> Iterator[None]:
        before, self._active.adapters = self._active.adapters, active
        try:
            yield
        finally:
            self._active.adapters = before

    def recompute_contexts(self) -> tuple:
        """For gradient checkpointing: what is recomputed has the adapters that are active now."""
        return nullcontext(), self.activate(self._active.adapters)

    @property
    def _device(self) -> torch.device:
        return next(itertools.chain(self.bank.parameters(), self.bank.buffers())).device

    def _adapt(self, site: AdapterSite, module: nn.Module, inputs: tuple, output: Tensor | tuple) -> Tensor | tuple:
        active = self._active.adapters
        if active is None:
            raise RuntimeError("call the AdaptedModel with task= or task_ids=, not its backbone")
        hidden = output[0] if isinstance(output, tuple) else output
        weights = active.at(site, hidden.shape[0])
        adapted = self._form.apply(weights, inputs[0] if inputs else None, hidden, module.training)
        return (adapted, *output[1:]) if isinstance(output, tuple) else adapted

    def _generate(self, tasks: Sequence[int]) -> Stacked:
        with torch.autocast(self._device.type, enabled=False):  # small, and every position depends on it
            return self.bank(tasks)


def check_bare(backbone: nn.Module) -> None:
    """Ensures that a backbone has no adapters attached yet.

    Raises:
        InputError: it has.
    """
    for module in backbone.modules():
        for hook in module._forward_hooks.values():
            if isinstance(hook, partial) and isinstance(getattr(hook.func, "__self__", None), AttachedAdapters):
                raise InputError("the backbone already has adapters attached; load it anew")
