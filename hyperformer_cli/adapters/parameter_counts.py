"""Parameter counts, and those of published shapes that were counted before, without torch or transformers.

`parameter_counts.json` is written by `python -m tools.parameter_counts`: for every published shape and both nano
models, every method with its defaults and with the options of the shipped recipes. A backbone is found by the digest of
its shape and a method by all of its options, so that whatever has changed since is counted anew (`counting`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hyperformer_cli.backbones.published import published
from hyperformer_cli.bundled import folder_of, is_bundled_model
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.config.recipe import Recipe

FILE = Path(__file__).with_suffix(".json")


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


def adapter_of_one_model(recipe: Recipe) -> AdapterConfig:
    """The method on the tasks of one of the recipe's models: of all tasks, or of the first where each has its own."""
    return recipe.adapter if recipe.joint else recipe.adapter.with_tasks(recipe.task_names[:1])


def total_of_recipe(recipe: Recipe, counts: ParameterCounts) -> str:
    """The total of all of a recipe's models beside one backbone, as the paper prints it.

    Tasks trained each alone have one model each. Totals are such as `1.04x`, `8.0x`, or `1+8x0.01` for several small
    models beside one backbone.
    """
    models = 1 if recipe.joint else len(recipe.task_names)
    if models == 1:
        return f"{counts.total_ratio:.{1 if counts.total_ratio == 1 else 2}f}x"
    if counts.trained == counts.backbone:
        return f"{models:.1f}x"
    return f"1+{models}x{counts.trained / counts.backbone:.2f}"


def stored_counts(name: str | None, changes: Mapping[str, Any], adapter: AdapterConfig) -> ParameterCounts | None:
    """The counts of a method on a backbone, if they are stored.

    Args:
        name: the backbone's.
        changes: values that replace those of its configuration.
        adapter: the method and its tasks.
    """
    shape = None if name is None or changes else known_shape(name)
    if shape is None:
        return None
    digest = shape_digest(shape)
    backbone = next((each for each in _stored()["backbones"].values() if each["shape"] == digest), None)
    if backbone is None:
        return None
    for options, counted in zip(_stored()["adapters"], backbone["counted"], strict=True):
        if counted is not None and AdapterConfig(**options, tasks=adapter.tasks) == adapter:
            tasks = len(adapter.tasks)
            total, per_task, trained, trained_per_task = counted
            return ParameterCounts(
                backbone["parameters"], total + tasks * per_task, trained + tasks * trained_per_task, tasks
            )
    return None


def known_shape(name: str) -> dict[str, Any] | None:
    """What the configuration of a published checkpoint or a nano model states; None for any other name or a folder."""
    if is_bundled_model(name):
        return json.loads((Path(folder_of(name)) / "config.json").read_bytes())
    return None if Path(name).is_dir() else published(name)


def shape_digest(shape: Mapping[str, Any]) -> str:
    """Tells shapes apart."""
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]


@cache
def _stored() -> dict[str, Any]:
    return json.loads(FILE.read_bytes())
