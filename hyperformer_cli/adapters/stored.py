"""A stored model, opened: its description, the backbone it belongs to, and the adapters of a static export."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel

from hyperformer_cli.adapters.banks import FrozenBank
from hyperformer_cli.adapters.forms import make_form
from hyperformer_cli.adapters.tensor_groups import group_tensors
from hyperformer_cli.backbones.families import family_of
from hyperformer_cli.backbones.identity import configuration_hash, frozen_hash
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.static import NORMS_FILE, STATIC, read_static_task
from hyperformer_cli.storage.trained import CONFIG_FILE, WEIGHTS_FILE, Description, read_description


def describe(config: AdapterConfig, source: BackboneSource, backbone: PreTrainedModel) -> Description:
    """What `hyperformer.json` says of a model."""
    return Description(config, source.as_dict(), configuration_hash(backbone.config), frozen_hash(backbone))


@dataclass(frozen=True)
class StoredModel:
    """What was stored in a folder, and the backbone for it.

    Attributes:
        folder: with `hyperformer.json`.
        description: its content.
        source: where the backbone came from.
        backbone: loaded from there, or the one given in its place.
        is_known: whether the backbone was loaded from a commit, whose weights cannot have changed.
    """

    folder: Path
    description: Description
    source: BackboneSource
    backbone: PreTrainedModel
    is_known: bool

    @classmethod
    def open(cls, folder: Path, backbone: PreTrainedModel | None) -> "StoredModel":
        """Reads the description and finds the backbone.

        Raises:
            InputError: a missing or damaged file, or a backbone of another configuration.
        """
        description = read_description(folder)
        try:
            source = BackboneSource(**description.backbone)
        except (TypeError, ValueError) as error:
            raise InputError(f"{folder / CONFIG_FILE}: damaged ({str(error).splitlines()[0]})") from error
        is_known = source.is_pinned and backbone is None
        backbone = backbone if backbone is not None else load_backbone(source)
        if configuration_hash(backbone.config) != description.configuration_sha256:
            raise InputError(f"{folder}: trained on a backbone of another configuration than the one given")
        return cls(folder, description, source, backbone, is_known)

    @property
    def is_static(self) -> bool:
        return self.description.weights == STATIC

    @property
    def weights_file(self) -> Path:
        """The file of the trained tensors, or in a static export of the layer norms."""
        return self.folder / (NORMS_FILE if self.is_static else WEIGHTS_FILE)

    def check_frozen_weights(self) -> None:
        """Ensures that the backbone, frozen as the method freezes it, is the one that was trained on.

        Raises:
            InputError: its frozen weights are others.
        """
        if not self.is_known and frozen_hash(self.backbone) != self.description.frozen_sha256:
            what = "a random draw that differs here" if self.source.init == "random" else "changed, or others"
            raise InputError(f"{self.folder}: the backbone's frozen weights are not those it was trained on ({what})")

    def static_bank(self) -> FrozenBank | None:
        """The adapters of all tasks of a static export; None for a trained model, and where there are none.

        Raises:
            InputError: a file is missing, damaged, or of another model.
        """
        config = self.description.config
        if not (self.is_static and config.has_bank):
            return None
        form = make_form(config)
        groups = group_tensors(form, list(form.find_sites(self.backbone, family_of(self.backbone.config))))
        shapes = {f"{site.path}.{group.name}": group.spec.shape for group in groups for site in group.sites}
        by_task = [read_static_task(self.folder, task, form.arithmetic(), shapes) for task in config.tasks]
        return FrozenBank(
            {
                group.key: torch.stack(
                    [torch.stack([own[f"{site.path}.{group.name}"] for own in by_task]) for site in group.sites]
                ).to(self.backbone.device)
                for group in groups
            }
        )


def static_description(description: Description, tasks: list[str]) -> Description:
    """The description of a static export of some of a model's tasks."""
    return replace(description, config=description.config.with_tasks(tasks), weights=STATIC)
