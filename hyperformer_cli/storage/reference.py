"""Parameters under the names of the reference code (https://github.com/rabeehk/hyperformer, commit 56b0f99).

It knows the T5 family and the bottleneck form.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.errors import InputError

# transformers 3.5.1 gave T5 a parameter that T5 does not have; and it saved every name of a tied tensor.
_PHANTOM = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
_TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
_STACKS, _POSITIONS = ("encoder", "decoder"), ("self_attention", "feed_forward")

Site = tuple[str, int, str]  # stack, layer, position
Location = tuple[str, tuple[int, ...]]  # a parameter of ours, and the slice of it


@dataclass(frozen=True)
class ReferenceNames:
    """Where each parameter of the reference is among ours.

    Attributes:
        config: the method.
        sites: every adapted place, stack by stack, in the order in which ours are stacked.
        ours: the names of our parameters, those of the backbone under `backbone.`.
    """

    config: AdapterConfig
    sites: Sequence[Site]
    ours: Collection[str]

    def locations(self) -> dict[str, Location]:
        """The reference's names, each with the slice of ours that holds it.

        Raises:
            InputError: the reference code has no such model.
        """
        found: dict[str, Location] = {
            name.removeprefix("backbone."): (name, ()) for name in self.ours if name.startswith("backbone.")
        }
        if not self.config.has_bank:
            return found
        if self.config.shared_by_tasks or self.config.form != "bottleneck":
            what = "adapters shared by all tasks" if self.config.shared_by_tasks else f"form '{self.config.form}'"
            raise InputError(f"the reference code has no {what}")
        bank = self._hypernetworks() if self.config.has_hypernetwork else self._adapters()
        return found | {theirs: location for theirs, location in bank.items() if location[0] in self.ours}

    def _adapters(self) -> dict[str, Location]:
        names: dict[str, Location] = {}
        for controller, stack, i in self._controllers():
            names |= _plain_norm_names(controller, stack, i)
            for task_id, task in enumerate(self.config.tasks):
                for way in ("down", "up"):
                    for kind in ("weight", "bias"):
                        theirs = f"{controller}.adapters.{task}.{way}_sampler.{kind}"
                        names[theirs] = (f"{stack}.{way}_{kind}", (i, task_id))
        return names

    def _hypernetworks(self) -> dict[str, Location]:
        names: dict[str, Location] = {
            f"task_embedding_controller.task_to_embeddings.{task}": ("bank.task_embedding", (i,))
            for i, task in enumerate(self.config.tasks)
        }
        names |= _projector_names("task_embedding_controller.task_hyper_net", "bank.task_projector")
        if self.config.method == "hyperformer":
            for controller, stack, i in self._controllers():
                names |= _plain_norm_names(controller, stack, i)
                linear, norm = f"{controller}.meta_{{}}_sampler", f"{controller}.{{}}_layernorm_hypernet"
                names |= _head_names(linear, norm, stack, i)
            return names
        for stack in _STACKS:
            net, ours = f"{stack}.adapter_layers_hyper_net", f"bank.stacks.{stack}"
            embedding = f"{ours}.site_embedding"
            names |= _projector_names(f"{net}.task_hypernet", f"{embedding}.projector")
            names[f"{net}.layer_id_embeddings.weight"] = (f"{embedding}.layer_embedding.weight", ())
            names[f"{net}.adapters_block_type.weight"] = (f"{embedding}.position_embedding.weight", ())
            for kind in ("weight", "bias"):
                names[f"{net}.LayerNorm.{kind}"] = (f"{embedding}.norm.{kind}", ())
            shared_by_position = self.config.method == "hyperformer-shared-layers"
            for group, position in enumerate(_POSITIONS if shared_by_position else [""]):
                prefix = f"{net}.{position}_" if position else f"{net}."
                linear, norm = f"{prefix}{{}}_sampler_hyper_net", f"{prefix}{{}}_layernorm_hypernet"
                names |= _head_names(linear, norm, ours, group)
        return names

    def _controllers(self) -> list[tuple[str, str, int]]:
        """For every site the reference's module, the prefix of our stack's parameters, and the site's number there."""
        found = []
        for stack in _STACKS:
            own = [(layer, position) for other, layer, position in self.sites if other == stack]
            for i, (layer, position) in enumerate(own):
                path = reference_layer(stack, layer, position)
                found.append((f"{path}.adapter_controller", f"bank.stacks.{stack}", i))
        return found


def reference_layer(stack: str, layer: int, position: str) -> str:
    """T5's module around an adapted sub-layer, as the reference and AdapterHub name it: `decoder.block.0.layer.2`."""
    number = {"self_attention": 0, "feed_forward": 1 if stack == "encoder" else 2}[position]
    return f"{stack}.block.{layer}.layer.{number}"


def load_reference(
    locations: Mapping[str, Location], parameters: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> None:
    """Copies a reference state dict into parameters of ours.

    Args:
        locations: of every parameter of the reference.
        parameters: ours, by name.
        state: the reference's tensors.

    Raises:
        InputError: a tensor is missing, left over, or has another shape; nothing has been copied.
    """
    given = state.keys() - {_PHANTOM} - (set(_TIED) - locations.keys())
    if given != locations.keys():
        missing, extra = sorted(locations.keys() - given), sorted(given - locations.keys())
        raise InputError(
            f"not a reference checkpoint of this configuration: missing {missing[:3]}, left over {extra[:3]}"
        )
    with torch.no_grad():
        targets = {name: parameters[ours][index] for name, (ours, index) in locations.items()}
        for name, target in targets.items():
            if target.shape != state[name].shape:
                raise InputError(f"{name}: shape {list(state[name].shape)}, expected {list(target.shape)}")
        for name, target in targets.items():
            target.copy_(state[name])


def _head_names(linear: str, norm: str, ours: str, group: int) -> dict[str, Location]:
    """The heads of one group; `linear` and `norm` are their names with a hole for down, up, pre and post."""
    names: dict[str, Location] = {}
    for kind in ("weight", "bias"):
        for way in ("down", "up"):
            for generated in ("weight", "bias"):
                theirs = f"{linear.format(way)}.{generated}_generator.0.{kind}"
                names[theirs] = (f"{ours}.{way}_{generated}.{kind}", (group,))
        for place in ("pre", "post"):
            for generated, name in (("weight", "scale"), ("bias", "shift")):
                theirs = f"{norm.format(place)}.{generated}_generator.{kind}"
                names[theirs] = (f"{ours}.{place}_norm.{name}.{kind}", (group,))
    return names


def _plain_norm_names(controller: str, stack: str, site: int) -> dict[str, Location]:
    return {
        f"{controller}.{place}_layer_norm.{kind}": (f"{stack}.{place}_norm.{name}", (site,))
        for place in ("pre", "post")
        for kind, name in (("weight", "scale"), ("bias", "shift"))
    }


def _projector_names(theirs: str, ours: str) -> dict[str, Location]:
    return {
        f"{theirs}.task_embeding_generator.{layer}.{kind}": (f"{ours}.{layer}.{kind}", ())
        for layer in (0, 2)
        for kind in ("weight", "bias")
    }
