"""`AdaptedModel`: a frozen backbone with a bank of adapters attached through forward hooks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils.generic import ModelOutput

from hyperformer_cli.adapters.active import checked_ids
from hyperformer_cli.adapters.attached import AttachedAdapters, Bank, check_bare
from hyperformer_cli.adapters.banks import FrozenBank, StoredBank
from hyperformer_cli.adapters.forms import AdapterWeights, make_form
from hyperformer_cli.adapters.freezing import freeze, has_quantized
from hyperformer_cli.adapters.hypernetworks import GroupedLinear, HypernetworkBank
from hyperformer_cli.adapters.merging import Mergeable, bare_copy, merge
from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.adapters.stored import StoredModel, describe, static_description
from hyperformer_cli.backbones.families import family_of
from hyperformer_cli.backbones.identity import frozen_hash
from hyperformer_cli.backbones.sharding import encoder_output, is_sharded
from hyperformer_cli.backbones.source import BackboneSource
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.storage.reference import ReferenceNames, load_reference
from hyperformer_cli.storage.static import write_static
from hyperformer_cli.storage.trained import Description, copy_tensors, write_trained


class AdaptedModel(nn.Module):
    """A backbone, a bank of adapter weights, and the hooks that bring them together. Build it with `attach`.

    Several threads may call one model at once, each with tasks of its own.

    Attributes:
        backbone: the transformers model; its frozen parameters have `requires_grad=False`.
        family: the backbone's family, which knows where things are in it and how its batches are laid out.
        bank: the adapters' source, or None for methods without adapters.
        config: the `AdapterConfig`.
        source: where the backbone came from.
        frozen_sha256: the hash of a quantised backbone's frozen weights as they were loaded; None for others.
    """

    backbone: Any  # a PreTrainedModel, whose type lacks what it has from mixins, such as `generate`

    def __init__(
        self,
        backbone: PreTrainedModel,
        config: AdapterConfig,
        source: BackboneSource | None = None,
        bank: Bank | None = None,
    ):
        super().__init__()
        self.config, self.backbone = config, backbone
        self.source = source or BackboneSource.of(backbone)
        self.family = family_of(backbone.config)
        check_bare(backbone)
        self._adapters = AttachedAdapters(backbone, self.family, config, bank) if config.has_bank else None
        self.bank: Bank | None = None if self._adapters is None else self._adapters.bank
        norms = self.layer_norms() if config.train_layer_norms else {}
        freeze(backbone, None if config.method == "finetune" else norms, getattr(torch, self.source.dtype))
        if self.bank is None and not self.trained_parameters():
            raise InputError("nothing would be trained: no adapters, and the backbone's layer norms have no weights")
        # Libraries may repack quantised weights where they lie when they first compute with them.
        self.frozen_sha256 = frozen_hash(backbone) if has_quantized(backbone) else None

    @classmethod
    def attach(
        cls,
        backbone: PreTrainedModel,
        config: AdapterConfig,
        source: BackboneSource | None = None,
        bank: Bank | None = None,
    ) -> Self:
        """Attaches a method to a backbone, freezing what the method does not train.

        Args:
            backbone: a model of transformers of a known family, such as `T5ForConditionalGeneration`. It is changed
                in place: hooks on its modules, `requires_grad` of its parameters.
            config: the method. New weights are drawn from torch's global generator.
            source: where the backbone came from, for `from_pretrained`; by default what the backbone itself knows.
            bank: adapters made before, in place of the method's own.

        Raises:
            InputError: the backbone is of no known family, or the adapters' options do not fit it.
        """
        return cls(backbone, config, source, bank)

    @property
    def device(self) -> torch.device:
        return self.backbone.device

    @property
    def is_sharded(self) -> bool:
        """Whether the frozen backbone is divided among processes, which then must make equally many forward passes."""
        return is_sharded(self.backbone)

    @property
    def sites(self) -> list[AdapterSite]:
        """Where adapters are, in the bank's order; empty for methods without adapters."""
        return [] if self._adapters is None else self._adapters.sites

    @property
    def tasks(self) -> list[str]:
        return self.config.tasks

    # Running

    def forward(
        self, *, task: str | None = None, task_ids: Tensor | Sequence[int] | None = None, **inputs: Any
    ) -> ModelOutput:
        """Runs the backbone with the adapters of one task, or of one task per row.

        Args:
            task: the task of all rows.
            task_ids: (batch,) ids in the order of `config.tasks`; ids on a GPU cost a synchronisation.
            **inputs: the backbone's own, such as `input_ids`, `attention_mask` and `labels`, each (batch, length).

        Returns:
            `.logits` (batch, target length, vocabulary) and, given labels (-100 is ignored), `.loss`, the mean
            cross-entropy over tokens. Decoder-only backbones read prompt and target as one sequence: their labels have
            its length, -100 on the prompt.

        Raises:
            InputError: an unknown task, an id out of range, or not exactly one of `task` and `task_ids`.
        """
        with self._adapters_of(task, task_ids, inputs), self._reduced_precision(), self._gathering():
            return self.backbone(**inputs | self.family.layout.forward_options(inputs))

    @torch.no_grad()
    def generate(
        self, *, task: str | None = None, task_ids: Tensor | Sequence[int] | None = None, **inputs: Any
    ) -> Tensor:
        """The backbone's `generate` with adapters made once for all decoding steps; arguments as in `forward`.

        Prompts of decoder-only backbones are padded on the left; what is returned begins with them.
        """
        with self._adapters_of(task, task_ids, inputs), self._reduced_precision(), self._gathering():
            if self.is_sharded:  # processes with shorter answers wait for the others
                inputs = {"synced_gpus": True, **inputs}
            depths = [self.family.depth(self.backbone.config, stack) for stack in self.family.stacks]
            return self.backbone.generate(**inputs | self.family.layout.generation_options(inputs, depths))

    def encode(
        self, *, task: str | None = None, task_ids: Tensor | Sequence[int] | None = None, **inputs: Any
    ) -> BaseModelOutput:
        """The encoder's output alone, `.last_hidden_state` (batch, length, hidden); arguments as in `forward`.

        `forward` and `generate` take it as `encoder_outputs`, with the same `attention_mask`, in place of `input_ids`:
        several decoder passes then share one encoder pass.

        Raises:
            InputError: the backbone has no encoder.
        """
        if "encoder" not in self.family.stacks:
            raise InputError(f"a {self.backbone.config.model_type} backbone has no encoder")
        with self._adapters_of(task, task_ids, inputs), self._reduced_precision(), self._gathering():
            return encoder_output(self.backbone, **inputs)

    @contextmanager
    def adapting(self, task_ids: Sequence[int]) -> Iterator[None]:
        """Within the block the backbone, or a stack of it, can be called directly; each row has its task's adapters.

        They are made, and gathered for the rows, once for all calls in the block.

        Args:
            task_ids: (batch,); what is called has so many rows, or a multiple of them, those of one id adjacent.
        """
        with self._adapters_of(None, task_ids, {}), self._reduced_precision(), self._gathering():
            yield

    def adapter_weights(self, task: str) -> dict[AdapterSite, AdapterWeights]:
        """The weights of every site for one task, in float32; empty for methods without adapters."""
        return {} if self._adapters is None else self._adapters.weights([self.task_id(task)])

    def adapter_tensors(self, task: str) -> dict[str, Tensor]:
        """The same without gradients, as plain tensors by `<stack>.<layer>.<position>.<tensor>`."""
        with torch.no_grad():
            return {
                f"{site.path}.{name}": tensor
                for site, weights in self.adapter_weights(task).items()
                for name, tensor in weights.named_tensors().items()
            }

    def merged(self, task: str) -> PreTrainedModel:
        """A plain transformers model with one task's adapters in its weights; for adapters of linear maps (LoRA).

        The sums are taken in float32 and rounded to the backbone's type. This model is not changed.

        Raises:
            InputError: an unknown task, adapters that cannot be merged, or a quantised backbone.
        """
        weights = self.adapter_weights(task)
        twin = bare_copy(self.backbone)
        if self.config.has_bank:
            form = make_form(self.config)
            if not isinstance(form, Mergeable):
                raise InputError(f"form '{self.config.form}' has adapters that cannot be merged into weights; LoRA can")
            merge(form, form.find_sites(twin, self.family), weights)
        return twin

    @contextmanager
    def frozen_adapters(self) -> Iterator[None]:
        """Within the block the adapters of all tasks are generated once and kept: for evaluation, without gradients.

        Blocks may be nested. They hold for the thread that opened them: others see the weights as they are, and train
        with gradients. Within the block a change of weights is not seen; a copy made in it sees its own.
        """
        with nullcontext() if self._adapters is None else self._adapters.generated_ahead(len(self.tasks)):
            yield

    @contextmanager
    def using(self, weights: dict[AdapterSite, AdapterWeights]) -> Iterator[None]:
        """Within the block the backbone, or a stack of it, can be called directly and has these adapters.

        Args:
            weights: as `adapter_weights` returns them, for every site of what is called.
        """
        with nullcontext() if self._adapters is None else self._adapters.using(weights):
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
        bank = self._changeable_bank()
        try:
            config = self.config.with_tasks([*self.tasks, name])
        except ValidationError as error:
            raise InputError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
        if bank is not None:
            bank.add_task(copied)
        self.config = config

    def remove_task(self, name: str) -> None:
        """Removes a task; the ids of those after it move up. The shrunken tensors are new parameters.

        Raises:
            InputError: the model has no such task, or no other.
        """
        removed = self.task_id(name)
        bank = self._changeable_bank()
        if len(self.tasks) == 1:
            raise InputError(f"{name!r} is the model's only task")
        if bank is not None:
            bank.remove_task(removed)
        self.config = self.config.with_tasks([task for task in self.tasks if task != name])

    def _changeable_bank(self) -> StoredBank | HypernetworkBank | None:
        if isinstance(self.bank, FrozenBank) or (self._adapters is not None and self._adapters.are_fixed):
            raise InputError(
                "tasks cannot be added or removed: these adapters were generated before (a static export, or "
                "frozen_adapters()) and there is no hypernetwork to make others; change the run's model"
            )
        return self.bank

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """What the method trains, by name; what checkpoints and `save_pretrained` hold."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def head_weights(self) -> list[nn.Parameter]:
        """The weights, without biases, of the hypernetworks' heads; none where adapters are stored."""
        modules = () if self.bank is None else self.bank.modules()
        return [module.weight for module in modules if isinstance(module, GroupedLinear)]

    def layer_norms(self) -> dict[str, nn.Parameter]:
        """The backbone's layer norms, trained or not, under the backbone's own names."""
        return {name: p for name, p in self.backbone.named_parameters() if self.family.is_layer_norm(name)}

    def load_reference_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Loads parameters under the names of the reference code (rabeehk/hyperformer), the backbone's included.

        Raises:
            InputError: a tensor is missing, left over, or has another shape.
        """
        load_reference(self.reference_names().locations(), dict(self.named_parameters()), state_dict)

    def reference_names(self) -> ReferenceNames:
        """Where the parameters of the reference code are among this model's."""
        sites = [(site.stack, site.layer, site.position) for site in self.sites]
        return ReferenceNames(self.config, sites, dict(self.named_parameters()).keys())

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes `hyperformer.json` and `hyperformer.safetensors` (trained tensors only).

        A model whose adapters were generated before is written as a static export.
        """
        if isinstance(self.bank, FrozenBank):
            self.save_static(folder)
        else:
            write_trained(Path(folder), self.describe(), self.trained_parameters())

    def save_static(
        self,
        folder: str | Path,
        tasks: Sequence[str] | None = None,
        about: Mapping[str, Mapping[str, Any]] | None = None,
        description: Description | None = None,
    ) -> list[Path]:
        """Generates every task's adapters once and writes them as plain tensors; see `storage.static`.

        Args:
            folder: where to.
            tasks: by default all of the model's.
            about: by task, further entries of its JSON.
            description: what `describe` returned for the backbone as it was loaded, where it has been cast since.

        Returns:
            The files.
        """
        chosen = self.tasks if tasks is None else list(tasks)
        adapters = {task: self.adapter_tensors(task) for task in chosen}
        described = static_description(description or self.describe(), chosen)
        arithmetic = make_form(self.config).arithmetic()
        return write_static(Path(folder), described, self.layer_norms(), adapters, arithmetic, about or {})

    def describe(self) -> Description:
        """What `hyperformer.json` says of this model: method and backbone, with hashes of the backbone's weights."""
        return describe(self.config, self.source, self.backbone, self.frozen_sha256)

    @classmethod
    def from_pretrained(cls, folder: str | Path, backbone: PreTrainedModel | BackboneSource | None = None) -> Self:
        """Loads what `save_pretrained` or a static export wrote.

        The backbone comes from where it came from, unless it is given, or where to find it. The files are checked
        against `manifest.json`, if the folder has one.

        Raises:
            InputError: a missing or damaged file, another format version, or a backbone of another shape or other
                frozen weights.
        """
        stored = StoredModel.open(Path(folder), backbone)
        model = cls.attach(stored.backbone, stored.description.config, stored.source, stored.static_bank())
        stored.check_frozen_weights()
        copy_tensors(stored.weights_file, model.layer_norms() if stored.is_static else model.trained_parameters())
        return model

    def gradient_checkpointing_enable(self) -> None:
        """Recomputes activations in the backward pass, with the adapters that the forward pass had."""
        options: dict[str, Any] = {"use_reentrant": False}
        if self._adapters is not None:
            options["context_fn"] = self._adapters.recompute_contexts
        self.backbone.activation_checkpointing_enable(activation_checkpointing_kwargs=options)

    def compile_layers(self, backend: str = "inductor") -> None:
        """Compiles every layer of the backbone, with its adapters, by `torch.compile`; what is around them stays eager.

        A layer gets a few graphs: for its first batch, for other lengths, for other numbers of rows, and for rows of
        several tasks beside those of one. A task needs none of its own, for adapters are tensors that a layer is given.
        Raises torch's limits on the number of graphs, for the whole process. Within
        `torch.compiler.set_stance("force_eager")` the layers run as they are.
        """
        layers = [layer for stack in self.family.stacks for layer in self.family.layers(self.backbone, stack)]
        limits, graphs = torch._dynamo.config, 8 * len(layers)  # counted over all layers, whose code is the same
        limits.cache_size_limit = max(limits.cache_size_limit, graphs)  # the names that torch 2.6 knows
        limits.accumulated_cache_size_limit = max(limits.accumulated_cache_size_limit, graphs)
        for layer in layers:
            layer.compile(backend=backend)

    @contextmanager
    def _adapters_of(
        self, task: str | None, task_ids: Tensor | Sequence[int] | None, inputs: Mapping[str, Any]
    ) -> Iterator[None]:
        if task is not None and task_ids is not None:
            raise InputError("give task or task_ids, not both")
        ids = [self.task_id(task)] if task is not None else checked_ids(task_ids, len(self.tasks), inputs)
        if self._adapters is None:
            yield
            return
        if not ids:
            raise InputError(f"method '{self.config.method}' needs task or task_ids")
        with self._adapters.of_rows(ids):
            yield

    @contextmanager
    def _gathering(self) -> Iterator[None]:
        """FSDP keeps the buffers into which it gathers: made in inference mode, they could not be used in training."""
        if not (self.is_sharded and torch.is_inference_mode_enabled()):
            yield
            return
        with torch.inference_mode(False), torch.no_grad():
            yield

    def _reduced_precision(self) -> AbstractContextManager[Any]:
        """A backbone in half precision computes under autocast: what is trained stays in float32."""
        dtype = self.backbone.get_input_embeddings().weight.dtype
        if dtype not in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled(self.device.type):
            return nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)
