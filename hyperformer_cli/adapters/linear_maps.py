"""The linear maps of a backbone's layers, and their choice by name as PEFT chooses them."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.backbones.family import Family
from hyperformer_cli.config.forms import ALL_LINEAR
from hyperformer_cli.errors import InputError, did_you_mean


@dataclass(frozen=True)
class LinearMap:
    """One linear map of a layer.

    Attributes:
        site: where it is; its position is the map's path in the layer, without indices.
        name: the module's name in the whole model, such as `model.layers.0.self_attn.q_proj`.
        module: an `nn.Linear`, weight (out, in), or a `Conv1D`, weight (in, out).
    """

    site: AdapterSite
    name: str
    module: Any


def linear_maps(backbone: PreTrainedModel, family: Family) -> list[LinearMap]:
    """All of them: stack by stack, within a stack by position and then by layer.

    Raises:
        InputError: several of one path in a layer, such as experts.
    """
    names = {module: name for name, module in backbone.named_modules()}
    found = []
    for stack in family.stacks:
        layers = [family.linear_maps(layer) for layer in family.layers(backbone, stack)]
        for layer, maps in zip(family.layers(backbone, stack), layers, strict=True):
            if len(maps) < sum(isinstance(module, nn.Linear | Conv1D) for module in layer.modules()):
                raise InputError(f"a {backbone.config.model_type} layer has several linear maps of one name (experts)")
        for position in dict.fromkeys(position for maps in layers for position in maps):
            for number, module in ((i, maps[position]) for i, maps in enumerate(layers) if position in maps):
                site = AdapterSite(stack, number, position, *_widths(module))
                found.append(LinearMap(site, names[module], module))
    return found


def select_linear_maps(
    backbone: PreTrainedModel, family: Family, target_modules: Sequence[str] | str | None
) -> list[LinearMap]:
    """Those whose names are, or end with a dot and, one of `target_modules`.

    Args:
        backbone: whose maps.
        family: its family.
        target_modules: `all-linear`, names, or None for the query and value projections.

    Raises:
        InputError: a name that fits no linear map of a layer, or a map whose weight is tied to another module's.
    """
    maps = linear_maps(backbone, family)
    targets = target_modules
    if targets is None:
        present = [end for end in family.query_value if any(ends_with(one.name, end) for one in maps)]
        targets = present or family.query_value
    if targets != ALL_LINEAR:
        for target in targets:
            if not any(ends_with(one.name, target) for one in maps):
                raise InputError(f"target_modules: {_why_not(backbone, maps, target)}")
        maps = [one for one in maps if any(ends_with(one.name, target) for target in targets)]
    uses = Counter(id(parameter) for _, parameter in backbone.named_parameters(remove_duplicate=False))
    for one in maps:
        if uses[id(one.module.weight)] > 1:
            raise InputError(
                f"target_modules: the weight of {one.name} is tied to another module's, which an adapter of one of "
                "them would change too; leave it out"
            )
    return maps


def shortest_targets(backbone: PreTrainedModel, names: Collection[str]) -> list[str]:
    """The shortest ends of modules' names that fit these modules and no others: PEFT's `target_modules` for them."""
    modules = [name for name, _ in backbone.named_modules()]
    for parts in range(1, max(name.count(".") for name in names) + 2):
        targets = sorted({".".join(name.split(".")[-parts:]) for name in names})
        if {name for name in modules if any(ends_with(name, target) for target in targets)} == set(names):
            return targets
    return sorted(names)


def ends_with(name: str, target: str) -> bool:
    """Whether a module's name is `target`, or its last parts are: how PEFT reads `target_modules`."""
    return name == target or name.endswith(f".{target}")


def _why_not(backbone: PreTrainedModel, maps: Sequence[LinearMap], target: str) -> str:
    modules = [name for name, _ in backbone.named_modules() if ends_with(name, target)]
    if modules:
        module = backbone.get_submodule(modules[0])
        tied = module is backbone.get_output_embeddings() and bool(backbone.config.tie_word_embeddings)
        why = "its weight is tied to the input embeddings" if tied else f"it is a {type(module).__name__}"
        return f"'{target}' is no linear map of a layer ({why}); only those have adapters"
    known = {one.name.rpartition(".")[2] for one in maps} | {one.site.position for one in maps}
    return f"no linear map '{target}' in a {backbone.config.model_type} layer; {did_you_mean(target, known)}"


def _widths(module: nn.Module) -> tuple[int, int]:
    """Input and output width."""
    if isinstance(module, Conv1D):
        return module.weight.shape[0], module.weight.shape[1]
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features
