"""Where a backbone comes from: the hub, a folder, a bundled nano model, or a random draw of a configuration."""

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from transformers import PreTrainedConfig, PreTrainedModel

from hyperformer_cli.backbones import hub
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.backbones.families import auto_class, family_of
from hyperformer_cli.backbones.family import Family
from hyperformer_cli.backbones.reduced import load_reduced
from hyperformer_cli.bundled import folder_of
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.errors import InputError


@dataclass(frozen=True)
class BackboneSource:
    """Where a backbone comes from; what a run folder needs to find it again.

    Attributes:
        name: a name on the hub, a folder, or `bundled` or `bundled-lm`: the nano models of the package.
        revision: branch, tag or commit; a commit once it is loaded.
        init: `pretrained`, or `random`: the shape of `name` without its weights, drawn from `seed`.
        config: values that replace those of the named configuration; all of it where there is no name.
        seed: of the random initialisation.
        dtype: of the frozen weights; trained ones are float32.
    """

    name: str | None
    revision: str | None = None
    init: str = "pretrained"
    config: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not isinstance(getattr(torch, self.dtype, None), torch.dtype):
            raise ValueError(f"{self.dtype!r} is no dtype of torch")

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> "BackboneSource":
        """The backbone a recipe names; a random one is drawn from the recipe's seed."""
        model, is_random = recipe.model, recipe.model.init == "random"
        return cls(
            name=model.name,
            revision=None if is_random else model.revision,
            init=model.init,
            config=model.config,
            seed=recipe.seed if is_random else None,
            dtype=model.dtype,
        )

    @classmethod
    def of(cls, backbone: PreTrainedModel) -> "BackboneSource":
        """What a loaded backbone knows of itself; without a name where it was built from a configuration."""
        config = backbone.config
        dtype = str(backbone.dtype).removeprefix("torch.")
        return cls(config.name_or_path or None, getattr(config, "_commit_hash", None), dtype=dtype)

    @property
    def is_pinned(self) -> bool:
        """Whether a commit says exactly which weights these are; a folder's may change, a random draw's too."""
        return self.init == "pretrained" and hub.is_commit(self.revision)

    def resolved(self, backbone: PreTrainedModel) -> "BackboneSource":
        """The same with the branch or tag replaced by the commit that was loaded, if it came from the hub."""
        commit = getattr(backbone.config, "_commit_hash", None) or self._cached_commit()
        return replace(self, revision=commit) if commit else self

    def _cached_commit(self) -> str | None:
        """The hub's cache keeps the files of a commit in a folder of its name; transformers forgets it."""
        if self.name is None or hub.is_folder(self.name):
            return None
        return None if (folder := self.folder) is None else folder.name

    @property
    def folder(self) -> Path | None:
        """The folder of the weights on this machine, the hub's cache included; None before they are downloaded."""
        if self.init == "random" or self.name is None:
            return None
        if hub.is_folder(self.name):
            return Path(folder_of(self.name))
        copy = hub.ModelCopy.find(self.name, self.revision)
        if copy is not None and copy.folder.is_dir():
            return copy.folder
        try:
            file = try_to_load_from_cache(self.name, "config.json", revision=self.revision or "main")
        except HFValidationError:  # the path of a folder that is not there
            return None
        return Path(file).parent if isinstance(file, str) else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def fetch_backbone(source: BackboneSource) -> None:
    """Downloads a backbone that is on the hub and not complete on this machine.

    Raises:
        InputError: as `load_backbone`.
    """
    if source.init == "random" or source.name is None or hub.is_folder(source.name):
        return
    copy = hub.ModelCopy.find(source.name, source.revision)
    if copy is None or not copy.has_weights or hub.wants_refresh():
        load_backbone(source)


def recipe_family(recipe: Recipe) -> Family:
    """The family of a recipe's backbone, by its configuration.

    Raises:
        InputError: no such model, or no family covers it.
    """
    return family_of(backbone_config(recipe.model.name, recipe.model.config, recipe.model.revision))


def load_backbone(source: BackboneSource) -> PreTrainedModel:
    """Loads or builds a backbone; attaching a method rounds what it freezes to `source.dtype`.

    A pretrained one is loaded in that precision, except for its layer norms; a random one is drawn in float32.

    Raises:
        InputError: an unknown configuration key, no such model, or no connection and no copy on disk.
    """
    if source.init == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(source.seed or 0)
            return build_backbone(backbone_config(source.name, source.config, source.revision))
    if source.config:
        raise InputError("model.config replaces values of a model without weights; it needs model.init=random")
    if source.name is None:
        raise InputError("the backbone was built in memory and has no name: pass backbone= to from_pretrained")
    stated, _ = hub.load_named(PreTrainedConfig.get_config_dict, source.name, source.revision)
    try:
        family = family_of(str(stated.get("model_type")))
    except InputError as error:
        raise InputError(f"model '{source.name}': {error}") from None
    if source.dtype == "float32":
        load = auto_class(family).from_pretrained
    else:
        load = partial(load_reduced, family=family, model_type=stated["model_type"])
    return hub.load_named(load, source.name, source.revision, dtype=getattr(torch, source.dtype))
