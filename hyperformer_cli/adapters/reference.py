"""Parameters under the names of the reference code (https://github.com/rabeehk/hyperformer, commit 56b0f99)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hyperformer_cli.adapters.sites import POSITIONS, STACKS, AdapterSite, layer_path
from hyperformer_cli.errors import InputError

if TYPE_CHECKING:
    from hyperformer_cli.adapters.model import AdaptedModel

# transformers 3.5.1 gave T5 a parameter that T5 does not have; and it saved every name of a tied tensor.
_PHANTOM = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
_TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")

Location = tuple[str, tuple[int, ...]]  # a parameter of ours, and the slice of it


def load(model: "AdaptedModel", state_dict: dict[str, Tensor]) -> None:
    """Copies a reference state dict into a model; see `AdaptedModel.load_reference_state_dict`."""
    locations = parameter_locations(model)
    given = state_dict.keys() - {_PHANTOM} - (set(_TIED) - locations.keys())
    if given != locations.keys():
        missing, extra = sorted(locations.keys() - given), sorted(given - locations.keys())
        raise InputError(
            f"not a reference checkpoint of this configuration: missing {missing[:3]}, left over {extra[:3]}"
        )
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        targets = {name: parameters[ours][index] for name, (ours, index) in locations.items()}
        for name, target in targets.items():
            if target.shape != state_dict[name].shape:
                raise InputError(f"{name}: shape {list(state_dict[name].shape)}, expected {list(target.shape)}")
        for name, target in targets.items():
            target.copy_(state_dict[name])


def parameter_locations(model: "AdaptedModel") -> dict[str, Location]:
    """Maps every parameter name of the reference to the slice of ours that holds it."""
    ours = {name for name, _ in model.named_parameters()}
    locations: dict[str, Location] = {
        name.removeprefix("backbone."): (name, ()) for name in ours if name.startswith("backbone.")
    }
    if model.bank is None:
        return locations
    if model.config.shared_by_tasks:
        raise InputError("the reference code has no adapters shared by all tasks")
    candidates = _hypernetwork_names(model) if model.config.has_hypernetwork else _adapter_names(model)
    return locations | {theirs: location for theirs, location in candidates.items() if location[0] in ours}


def _adapter_names(model: "AdaptedModel") -> dict[str, Location]:
    names: dict[str, Location] = {}
    for site, stack, i in _numbered_sites(model):
        controller = f"{layer_path(site)}.adapter_controller"
        names |= _plain_norm_names(controller, stack, i)
        for task_id, task in enumerate(model.tasks):
            for way in ("down", "up"):
                for kind in ("weight", "bias"):
                    theirs = f"{controller}.adapters.{task}.{way}_sampler.{kind}"
                    names[theirs] = (f"{stack}.{way}_{kind}", (i, task_id))
    return names


def _hypernetwork_names(model: "AdaptedModel") -> dict[str, Location]:
    names: dict[str, Location] = {
        f"task_embedding_controller.task_to_embeddings.{task}": ("bank.task_embedding", (i,))
        for i, task in enumerate(model.tasks)
    }
    names |= _projector_names("task_embedding_controller.task_hyper_net", "bank.task_projector")
    if model.config.method == "hyperformer":
        for site, stack, i in _numbered_sites(model):
            controller = f"{layer_path(site)}.adapter_controller"
            names |= _plain_norm_names(controller, stack, i)
            names |= _head_names(f"{controller}.meta_{{}}_sampler", f"{controller}.{{}}_layernorm_hypernet", stack, i)
        return names
    for stack in STACKS:
        net, ours = f"{stack}.adapter_layers_hyper_net", f"bank.stacks.{stack}"
        embedding = f"{ours}.site_embedding"
        names |= _projector_names(f"{net}.task_hypernet", f"{embedding}.projector")
        names[f"{net}.layer_id_embeddings.weight"] = (f"{embedding}.layer_embedding.weight", ())
        names[f"{net}.adapters_block_type.weight"] = (f"{embedding}.position_embedding.weight", ())
        for kind in ("weight", "bias"):
            names[f"{net}.LayerNorm.{kind}"] = (f"{embedding}.norm.{kind}", ())
        shared_by_position = model.config.method == "hyperformer-shared-layers"
        for group, position in enumerate(POSITIONS if shared_by_position else [""]):
            prefix = f"{net}.{position}_" if position else f"{net}."
            names |= _head_names(f"{prefix}{{}}_sampler_hyper_net", f"{prefix}{{}}_layernorm_hypernet", ours, group)
    return names


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


def _numbered_sites(model: "AdaptedModel") -> list[tuple[AdapterSite, str, int]]:
    """Every site with the prefix of its stack's parameters and its number there."""
    return [
        (site, f"bank.stacks.{stack}", i)
        for stack in STACKS
        for i, site in enumerate(site for site in model.sites if site.stack == stack)
    ]
