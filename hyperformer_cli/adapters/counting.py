"""The parameter columns of the paper's tables, counted on real modules on the meta device."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedConfig

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.config.cells import part_recipes
from hyperformer_cli.config.recipe import Recipe


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters of one adapted model for `tasks` tasks.

    Attributes:
        backbone: of the backbone alone.
        total: backbone and what the method adds.
        trained: of those, the trained ones.
        tasks: how many tasks share them.
    """

    backbone: int
    total: int
    trained: int
    tasks: int

    @property
    def total_ratio(self) -> float:
        """Total relative to the backbone (1.02 for HyperFormer++ BASE)."""
        return self.total / self.backbone

    @property
    def trained_per_task(self) -> float:
        """Trained parameters per task relative to the backbone, as a fraction (0.0029 for HyperFormer++ BASE)."""
        return self.trained / self.tasks / self.backbone

    def as_dict(self) -> dict[str, int | float]:
        """For results and plans; `trained_per_task_percent` as the paper prints it."""
        return {
            "backbone": self.backbone,
            "total": self.total,
            "trained": self.trained,
            "total_ratio": round(self.total_ratio, 6),
            "trained_per_task_percent": round(100 * self.trained_per_task, 6),
        }


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


def count_recipe(recipe: Recipe) -> tuple[ParameterCounts, str]:
    """The counts of one model of a recipe, and the total beside one backbone as the paper prints it.

    Tasks trained each alone have one model each. Totals are such as `1.04x`, `8.0x`, or `1+8x0.01` for several small
    models beside one backbone.
    """
    recipes = list(part_recipes(recipe).values())
    models, shape = len(recipes), backbone_config(recipe.model.name, recipe.model.config, recipe.model.revision)
    counts = count_adapted(shape, recipes[0].adapter)
    if models == 1:
        return counts, f"{counts.total_ratio:.{1 if counts.total_ratio == 1 else 2}f}x"
    if counts.trained == counts.backbone:
        return counts, f"{models:.1f}x"
    return counts, f"1+{models}x{counts.trained / counts.backbone:.2f}"
