"""The parameter columns of the paper's tables, counted on real modules on the meta device."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import PreTrainedConfig

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.adapters.parameter_counts import ParameterCounts
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.config.adapter import AdapterConfig


def count_parameters(
    *,
    method: str,
    backbone: str | PreTrainedConfig = "t5-small",
    tasks: int | Sequence[str] = 8,
    **options: Any,
) -> ParameterCounts:
    """Counts parameters without weights and without network (for published T5 shapes).

    Args:
        method: a method of `AdapterConfig`.
        backbone: a published T5 name, a folder or hub name, or a transformers configuration.
        tasks: how many tasks, or their names.
        **options: further fields of `AdapterConfig`, such as `reduction_factor`.

    Raises:
        ValueError: the options do not fit the method.
        InputError: the backbone is unknown.
    """
    names = [f"task{i}" for i in range(tasks)] if isinstance(tasks, int) else list(tasks)
    config = AdapterConfig.model_validate({"method": method, "tasks": names, **options})
    return count_adapted(backbone_config(backbone, {}) if isinstance(backbone, str) else backbone, config)


def count_adapted(shape: PreTrainedConfig, config: AdapterConfig) -> ParameterCounts:
    """The same for a backbone's configuration and a method's."""
    with torch.device("meta"):
        return count_model(AdaptedModel.attach(build_backbone(shape), config))


def count_model(model: AdaptedModel) -> ParameterCounts:
    """The counts of a model as it stands."""
    added = 0 if model.bank is None else _size(model.bank.parameters())
    total = _size(model.parameters())
    return ParameterCounts(total - added, total, _size(model.trained_parameters().values()), len(model.tasks))


def _size(parameters: Iterable[torch.nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
