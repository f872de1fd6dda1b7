"""A stored model, opened: its description, the backbone it belongs to, and the adapters of a static export."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from hyperformer_cli.adapters.banks import FrozenBank, StoredBank
from hyperformer_cli.adapters.forms import make_form
from hyperformer_cli.adapters.hypernetworks import HypernetworkBank
from hyperformer_cli.adapters.tensor_groups import TensorGroup, group_tensors
from hyperformer_cli.backbones.configuration import backbone_config
from hyperformer_cli.backbones.families import family_of
from hyperformer_cli.backbones.identity import FolderState, configuration_hash, frozen_hash, known_frozen_hash
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.manifest import check_files
from hyperformer_cli.storage.static import ADAPTERS_FOLDER, NORMS_FILE, STATIC, read_static_task
from hyperformer_cli.storage.trained import CONFIG_FILE, WEIGHTS_FILE, Description, read_description

_ELEMENT = 4  # bytes of a trained value, float32


def describe(
    config: AdapterConfig, source: BackboneSource, backbone: PreTrainedModel, frozen_sha256: str | None = None
) -> Description:
    """What `hyperformer.json` says of a model; `frozen_sha256` where it is known already."""
    frozen_sha256 = frozen_sha256 or frozen_hash(backbone)
    return Description(config, source.as_dict(), configuration_hash(backbone.config), frozen_sha256)


def is_of_weights(file: str) -> bool:
    """Whether a file of a folder, by its path there, is one that `AdaptedModel.from_pretrained` reads."""
    return file in (CONFIG_FILE, WEIGHTS_FILE, NORMS_FILE) or file.startswith(f"{ADAPTERS_FOLDER}/")


@dataclass(frozen=True)
class StoredModel:
    """What was stored in a folder, and the backbone for it.

    Attributes:
        folder: with `hyperformer.json`.
        description: its content.
        source: where the backbone came from.
        backbone: loaded from there, or the one given in its place.
        is_known: whether the backbone was loaded from a commit, whose weights cannot have changed.
        state: of the folder it was loaded from, if it was.
    """

    folder: Path
    description: Description
    source: BackboneSource
    backbone: PreTrainedModel
    is_known: bool
    state: FolderState | None

    @classmethod
    def open(cls, folder: Path, backbone: PreTrainedModel | BackboneSource | None) -> "StoredModel":
        """Reads the description, checks the files against their manifest if there is one, and finds the backbone.

        Raises:
            InputError: a missing or damaged file, or a backbone of another configuration.
        """
        description = read_description(folder)
        check_files(folder, is_of_weights)
        try:
            source = BackboneSource(**description.backbone)
        except (TypeError, ValueError) as error:
            raise InputError(f"{folder / CONFIG_FILE}: damaged ({str(error).splitlines()[0]})") from error
        if isinstance(backbone, PreTrainedModel):
            is_known, state = False, None
            _check_configuration(folder, description, backbone.config)
        else:
            origin = backbone or source
            is_known, state = source.is_pinned and backbone is None, FolderState.observe(origin.folder)
            if origin.init == "random":  # before a model of damaged sizes is built
                config = backbone_config(origin.name, origin.config, origin.revision)
                _check_configuration(folder, description, config)
            backbone = load_backbone(origin)
            _check_configuration(folder, description, backbone.config)
        stored = cls(folder, description, source, backbone, is_known, state)
        stored._check_size()
        return stored

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
        expected = self.description.frozen_sha256
        if not self.is_known and known_frozen_hash(self.backbone, self.state) != expected:
            what = "a random draw that differs here" if self.source.init == "random" else "changed, or others"
            raise InputError(f"{self.folder}: the backbone's frozen weights are not those it was trained on ({what})")

    def _check_size(self) -> None:
        """Refuses a configuration that asks for more memory than the file of weights could fill."""
        config = self.description.config
        if self.is_static or not config.has_bank or not self.weights_file.is_file():
            return
        make_bank = HypernetworkBank if config.has_hypernetwork else StoredBank
        try:
            with torch.device("meta"):
                bank = make_bank(config, self._groups())
            size = sum(parameter.numel() for parameter in bank.parameters()) * _ELEMENT
        except (RuntimeError, TypeError, OverflowError):  # beyond what torch can count
            size = sys.maxsize
        if size > self.weights_file.stat().st_size:
            raise InputError(
                f"{self.weights_file}: missing or damaged, or else {CONFIG_FILE} is: that describes adapters of "
                f"{size / 2**20:,.1f} MiB, more than the file holds"
            )

    def _groups(self) -> list[TensorGroup]:
        form = make_form(self.description.config)
        return group_tensors(form, list(form.find_sites(self.backbone, family_of(self.backbone.config))))

    def static_bank(self) -> FrozenBank | None:
        """The adapters of all tasks of a static export; None for a trained model, and where there are none.

        Raises:
            InputError: a file is missing, damaged, or of another model.
        """
        config = self.description.config
        if not (self.is_static and config.has_bank):
            return None
        form, groups = make_form(config), self._groups()
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


def _check_configuration(folder: Path, description: Description, config: PreTrainedConfig) -> None:
    if configuration_hash(config) != description.configuration_sha256:
        raise InputError(f"{folder}: trained on a backbone of another configuration than the one given")


def static_description(description: Description, tasks: list[str]) -> Description:
    """The description of a static export of some of a model's tasks."""
    return replace(description, config=description.config.with_tasks(tasks), weights=STATIC)
