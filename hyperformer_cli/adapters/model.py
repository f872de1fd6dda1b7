"""`AdaptedModel`: a frozen T5 with a bank of adapters attached through forward hooks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from hyperformer_cli.adapters import pretrained, reference, static
from hyperformer_cli.adapters.active import ActiveAdapters, OfThread, checked_ids, distinct_tasks
from hyperformer_cli.adapters.banks import FrozenBank, TaskAdapterBank
from hyperformer_cli.adapters.hypernetworks import HypernetworkBank
from hyperformer_cli.adapters.sites import AdapterSite, Stack, find_sites
from hyperformer_cli.adapters.weights import AdapterWeights, apply_adapter
from hyperformer_cli.backbones.source import BackboneSource, choose_trained_parameters
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.errors import InputError, did_you_mean


class AdaptedModel(nn.Module):
    """A backbone, a bank of adapter weights, and the hooks that bring them together. Build it with `attach`.

    Several threads may call one model at once, each with tasks of its own.

    Attributes:
        backbone: the transformers model; its frozen parameters have `requires_grad=False`.
        bank: the adapters' source, or None for methods without adapters.
        config: the `AdapterConfig`.
        source: where the backbone came from, if known.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        config: AdapterConfig,
        source: BackboneSource | None = None,
        bank: nn.Module | None = None,
    ):
        super().__init__()
        self.config, self.backbone, self.source = config, backbone, source
        self.bank: nn.Module | None = None
        self._active = OfThread()
        self._generated: list[FrozenBank] = []  # the same one for every `frozen_adapters()` block that is open
        if any(hook.func.__func__ is AdaptedModel._adapt for module in backbone.modules() for hook in _hooks(module)):
            raise InputError("the backbone already has adapters attached; load it anew")
        if config.has_bank:
            self._attach_bank(bank)
        choose_trained_parameters(backbone, config, getattr(torch, source.dtype) if source else backbone.dtype)

    @classmethod
    def attach(
        cls,
        backbone: PreTrainedModel,
        config: AdapterConfig,
        source: BackboneSource | None = None,
        bank: nn.Module | None = None,
    ) -> Self:
        """Attaches a method to a backbone, freezing what the method does not train.

        Args:
            backbone: a `T5ForConditionalGeneration` or another encoder-decoder of the T5 family. It is changed in
                place: hooks on its sub-layers, `requires_grad` of its parameters.
            config: the method. New weights are drawn from torch's global generator.
            source: where the backbone came from, for `from_pretrained`; by default what the backbone itself knows.
            bank: adapters made before, in place of the method's own.

        Raises:
            InputError: if the backbone has no sites, or the reduction factor leaves no bottleneck.
        """
        return cls(backbone, config, source or BackboneSource.of(backbone), bank)

    def _attach_bank(self, bank: nn.Module | None) -> None:
        sites = find_sites(self.backbone)
        hidden = self.backbone.config.d_model
        bottleneck = hidden // self.config.reduction_factor
        if bottleneck < 1:
            raise InputError(f"reduction_factor {self.config.reduction_factor} leaves no bottleneck of {hidden} units")
        if bank is None:
            make = HypernetworkBank if self.config.has_hypernetwork else TaskAdapterBank
            with torch.device(self.device):
                bank = make(self.config, list(sites), hidden, bottleneck)
        self.bank = bank
        self.sites = list(sites)
        self._activation = ACT2FN[self.config.non_linearity]
        for site, sublayer in sites.items():
            sublayer.register_forward_hook(partial(self._adapt, site))

    @property
    def device(self) -> torch.device:
        return self.backbone.device

    @property
    def tasks(self) -> list[str]:
        return self.config.tasks

    # Running

    def forward(
        self, *, task: str | None = None, task_ids: Tensor | Sequence[int] | None = None, **inputs: Any
    ) -> Seq2SeqLMOutput:
        """Runs the backbone with the adapters of one task, or of one task a row.

        Args:
            task: the task of all rows.
            task_ids: (batch,) ids in the order of `config.tasks`; ids on a GPU cost a synchronisation.
            **inputs: the backbone's own, such as `input_ids`, `attention_mask` and `labels`, each (batch, length).

        Returns:
            `.logits` (batch, target length, vocabulary) and, given labels (-100 is ignored), `.loss`, the mean
            cross-entropy over tokens.

        Raises:
            InputError: an unknown task, an id out of range, or not exactly one of `task` and `task_ids`.
        """
        with self._adapters_of(task, task_ids, inputs), self._reduced_precision():
            return self.backbone(**inputs)

    @torch.no_grad()
    def generate(
        self, *, task: str | None = None, task_ids: Tensor | Sequence[int] | None = None, **inputs: Any
    ) -> Tensor:
        """The backbone's `generate` with adapters made once for all decoding steps; arguments as in `forward`."""
        with self._adapters_of(task, task_ids, inputs), self._reduced_precision():
            if "past_key_values" not in inputs and inputs.get("use_cache", True) and self._depths_differ():
                # transformers sizes the cache by the encoder's depth; a deeper decoder needs one that grows.
                inputs["past_key_values"] = EncoderDecoderCache(DynamicCache(), DynamicCache())
            return self.backbone.generate(**inputs)

    def encode(
        self, *, task: str | None = None, task_ids: Tensor | Sequence[int] | None = None, **inputs: Any
    ) -> BaseModelOutput:
        """The encoder's output alone, `.last_hidden_state` (batch, length, hidden); arguments as in `forward`.

        `forward` and `generate` take it as `encoder_outputs`, with the same `attention_mask`, in place of `input_ids`:
        several decoder passes then share one encoder pass. `generate` with beams repeats its rows in place.
        """
        with self._adapters_of(task, task_ids, inputs), self._reduced_precision():
            return self.backbone.get_encoder()(**inputs)

    def adapter_weights(self, task: str) -> dict[AdapterSite, AdapterWeights]:
        """The weights of every site for one task, in float32; empty for methods without adapters."""
        return {} if self.bank is None else self._weights_by_site([self.task_id(task)])

    @contextmanager
    def frozen_adapters(self) -> Iterator[None]:
        """Within the block the adapters of all tasks are generated once and kept: for evaluation, without gradients.

        Blocks may be nested, and several threads may be in one; a change of weights is not seen before the last ends.
        """
        if self.bank is None:
            yield
            return
        with torch.no_grad():
            kept = self._generated[:1] or [FrozenBank(self._generate(range(len(self.tasks))))]
        self._generated += kept
        try:
            yield
        finally:
            self._generated.pop()

    @contextmanager
    def using(self, weights: dict[AdapterSite, AdapterWeights]) -> Iterator[None]:
        """Within the block the backbone, or a stack of it, can be called directly and has these adapters.

        Args:
            weights: as `adapter_weights` returns them, for every site of what is called.
        """
        with self._activate(ActiveAdapters(weights, rows=None)):
            yield

    def task_id(self, task: str) -> int:
        """The id of a task by name.

        Raises:
            InputError: the model has no such task.
        """
        if task not in self.tasks:
            raise InputError(f"the model has no task {task!r}: {did_you_mean(str(task), self.tasks)}")
        return self.tasks.index(task)

    # Changing and keeping

    def add_task(self, name: str, init_from: str | None = None) -> None:
        """Adds a task at the end, its embedding (or adapters) copied from a trained task, or new without one.

        The grown tensors are new parameters: build the optimizer afterwards.

        Raises:
            InputError: the name is taken or none, or `init_from` is not a task of the model.
        """
        if name in self.tasks:
            raise InputError(f"the model already has a task {name!r}")
        copied = None if init_from is None else self.task_id(init_from)
        self._check_that_tasks_can_change()
        try:
            config = self.config.with_tasks([*self.tasks, name])
        except ValidationError as error:
            raise InputError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
        if self.bank is not None:
            self.bank.add_task(copied)
        self.config = config

    def remove_task(self, name: str) -> None:
        """Removes a task; the ids of those after it move up. The shrunken tensors are new parameters.

        Raises:
            InputError: the model has no such task, or no other.
        """
        removed = self.task_id(name)
        self._check_that_tasks_can_change()
        if len(self.tasks) == 1:
            raise InputError(f"{name!r} is the model's only task")
        if self.bank is not None:
            self.bank.remove_task(removed)
        self.config = self.config.with_tasks([task for task in self.tasks if task != name])

    def _check_that_tasks_can_change(self) -> None:
        if isinstance(self.bank, FrozenBank) or self._generated:
            raise InputError(
                "tasks cannot be added or removed: these adapters were generated before (a static export, or "
                "frozen_adapters()) and there is no hypernetwork to make others; change the run's model"
            )

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """What the method trains, by name; what checkpoints and `save_pretrained` hold."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def load_reference_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Loads parameters under the names of the reference code (rabeehk/hyperformer), the backbone's included.

        Raises:
            InputError: a tensor is missing, left over, or has another shape.
        """
        reference.load(self, state_dict)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes `hyperformer.json` and `hyperformer.safetensors` (trained tensors only).

        A model whose adapters were generated before is written as a static export; see `adapters.static`.
        """
        (static if isinstance(self.bank, FrozenBank) else pretrained).save(self, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path, backbone: PreTrainedModel | None = None) -> Self:
        """Loads what `save_pretrained` or a static export wrote.

        The backbone comes from where it came from, unless it is given.

        Raises:
            InputError: a missing or damaged file, another format version, or a backbone of another shape.
        """
        folder = Path(folder)
        return (static if static.is_static(folder) else pretrained).load(cls, folder, backbone)

    def gradient_checkpointing_enable(self) -> None:
        """Recomputes activations in the backward pass, with the adapters that the forward pass had."""
        options = {"use_reentrant": False, "context_fn": self._recompute_contexts}
        self.backbone.activation_checkpointing_enable(activation_checkpointing_kwargs=options)

    # The hooks and their state

    def _adapt(self, site: AdapterSite, _module: nn.Module, _inputs: tuple, output: Tensor | tuple) -> Tensor | tuple:
        active = self._active.adapters
        if active is None:
            raise RuntimeError("call the AdaptedModel with task= or task_ids=, not its backbone")
        hidden = output[0] if isinstance(output, tuple) else output
        adapted = apply_adapter(hidden, active.at(site, hidden.shape[0]), self._activation)
        return (adapted, *output[1:]) if isinstance(output, tuple) else adapted

    @contextmanager
    def _adapters_of(
        self, task: str | None, task_ids: Tensor | Sequence[int] | None, inputs: Mapping[str, Any]
    ) -> Iterator[None]:
        if task is not None and task_ids is not None:
            raise InputError("give task or task_ids, not both")
        ids = [self.task_id(task)] if task is not None else checked_ids(task_ids, len(self.tasks), inputs)
        if self.bank is None:
            yield
            return
        if not ids:
            raise InputError(f"method '{self.config.method}' needs task or task_ids")
        distinct, places = distinct_tasks(ids)
        weights = self._weights_by_site(distinct)
        with self._activate(ActiveAdapters(weights, places and torch.tensor(places, device=self.device))):
            yield

    @contextmanager
    def _activate(self, active: ActiveAdapters | None) -> Iterator[None]:
        before, self._active.adapters = self._active.adapters, active
        try:
            yield
        finally:
            self._active.adapters = before

    def _recompute_contexts(self) -> tuple:
        return nullcontext(), self._activate(self._active.adapters)

    def _weights_by_site(self, tasks: list[int]) -> dict[AdapterSite, AdapterWeights]:
        generated = self._generated[:1]  # another thread may leave its block now
        stacks = generated[0](tasks) if generated else self._generate(tasks)
        per_site = []
        for weights in stacks.values():
            single = weights.map(lambda tensor: tensor.squeeze(1)) if len(tasks) == 1 else weights
            per_site += single.unbind()
        return dict(zip(self.sites, per_site, strict=True))

    def _generate(self, tasks: Sequence[int]) -> dict[Stack, AdapterWeights]:
        with torch.autocast(self.device.type, enabled=False):  # small, and every position of the batch depends on it
            return self.bank(tasks)

    def _depths_differ(self) -> bool:
        return len(self.backbone.encoder.block) != len(self.backbone.decoder.block)

    def _reduced_precision(self):
        """A backbone in half precision computes under autocast: what is trained stays in float32."""
        dtype = self.backbone.get_input_embeddings().weight.dtype
        if dtype not in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled(self.device.type):
            return nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)


def _hooks(module: nn.Module) -> list[partial]:
    """The forward hooks that may be an AdaptedModel's."""
    return [h for h in module._forward_hooks.values() if isinstance(h, partial) and hasattr(h.func, "__func__")]
