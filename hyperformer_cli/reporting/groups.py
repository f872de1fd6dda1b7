"""Groups: runs that differ in nothing but the seed. Curves: groups that differ in nothing but the training size."""

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hyperformer_cli.config.recipe import PaperRow, Recipe
from hyperformer_cli.engine.averages import mean_of_metrics_and_tasks
from hyperformer_cli.reporting.collect import Metric, Run

SIZE = "data.samples_per_task"
# What changes no figure but by rounding: names, checkpoints, logs, compiling, and how a batch is cut to fit a device.
_NOT_THE_EXPERIMENT = {
    "seed", "name", "output_dir", "training.save_every", "training.keep_checkpoints", "training.log_every",
    "training.report_to", "training.compile", "training.micro_batch_size", "evaluation.batch_size",
    "model.gradient_checkpointing",
}  # fmt: skip
_DRAWN_BY_IN_REFERENCE = "training.micro_batch_size"  # its sampler draws for so many processes
_CELL = re.compile(r"/[^/]*=[^/]*$")
_MOST_KEYS = 3  # in a name, before the folder says it better


@dataclass(frozen=True)
class Group:
    """Runs of one experiment, a seed each, in the order of the seeds."""

    runs: tuple[Run, ...]

    @property
    def recipe(self) -> Recipe:
        return self.runs[0].recipe

    @property
    def paper(self) -> PaperRow | None:
        return self.recipe.paper

    @property
    def size(self) -> int | None:
        """Training examples a task; None is all of them."""
        return self.recipe.data.samples_per_task

    @property
    def selected(self) -> bool:
        """Whether a sweep chose its setting on validation."""
        return all(run.selected for run in self.runs)

    def metrics(self, split: str) -> tuple[Metric, ...]:
        return tuple(self.runs[0].scores.get(split, ()))

    def values(self, split: str, metric: Metric) -> list[float]:
        """One value a seed, in per cent."""
        return [run.scores[split][metric] for run in self.runs]

    def averages(self, split: str, kind: str) -> list[float]:
        """One average a seed: of the `metrics`, which is the paper's, or of the `tasks`' own means."""
        scores = [[(*metric, value) for metric, value in run.scores[split].items()] for run in self.runs]
        return [mean_of_metrics_and_tasks(own)[kind] for own in scores]


@dataclass(frozen=True)
class Curve:
    """One method at several training sizes, the smallest first, all of the data last."""

    groups: tuple[Group, ...]

    @property
    def is_declared(self) -> bool:
        """Whether its recipe names the paper's low-resource figure."""
        return is_table(self.groups[0], "low-resource")


def group_runs(runs: Iterable[Run]) -> tuple[list[Group], list[str]]:
    """Groups in the order of their first runs, and a line for each run left out because its seed is there already."""
    groups: dict[tuple[str, frozenset], dict[int, Run]] = {}
    left_out = []
    for run in runs:
        measured = frozenset((split, metric) for split, scores in run.scores.items() for metric in scores)
        seeds = groups.setdefault((_key(run.recipe), measured), {})
        other = seeds.setdefault(run.recipe.seed, run)
        if other is not run:
            left_out.append(f"{run.folder}: the same recipe and seed as {other.folder}; left out")
    return [Group(tuple(seeds[seed] for seed in sorted(seeds))) for seeds in groups.values()], left_out


def low_resource_curves(groups: Sequence[Group]) -> list[Curve]:
    """Groups that share everything but the training size: at least two sizes, or the recipe says it is such a curve."""
    by_rest: dict[str, list[Group]] = {}
    for group in groups:
        by_rest.setdefault(without_size(group), []).append(group)
    curves = [Curve(tuple(sorted(own, key=lambda g: (g.size is None, g.size or 0)))) for own in by_rest.values()]
    return [curve for curve in curves if len(curve.groups) > 1 or curve.is_declared]


def without_size(group: Group) -> str:
    """The same for groups that differ only in training size."""
    return _key(group.recipe, {SIZE})


def is_table(group: Group, name: str) -> bool:
    """Whether a recipe names this table of the paper, or the miniature's counterpart."""
    return group.paper is not None and str(group.paper.table) in (name, f"mini {name}")


def is_miniature(recipe: Recipe) -> bool:
    """Whether a recipe runs on the bundled miniature, beside whose figures none of the paper's may stand."""
    return recipe.data.source == "bundled" or (recipe.paper is not None and str(recipe.paper.table).startswith("mini "))


def settings(recipe: Recipe) -> dict[str, Any]:
    """Dotted keys and values of everything that makes the experiment; not the seed."""
    plain = {key: value for key, value in recipe.as_dict().items() if key not in ("paper", "sweep", "fewshot")}
    left_out = _NOT_THE_EXPERIMENT - ({_DRAWN_BY_IN_REFERENCE} if recipe.data.protocol == "reference" else set())
    return {key: value for key, value in _flat(plain, "") if key not in left_out}


def differing(first: dict[str, Any], *others: dict[str, Any]) -> list[str]:
    """Keys in which settings differ, without the options that another method does not have."""
    all_of_them = (first, *others)
    keys = list(dict.fromkeys(itertools.chain(*all_of_them)))
    keys = [key for key in keys if any(own.get(key) != first.get(key) for own in others)]
    if "adapter.method" not in keys:
        return keys
    implied = {key for key in keys if key.startswith("adapter.") and any(own.get(key) is None for own in all_of_them)}
    return [key for key in keys if key not in implied]


def distinct_names(groups: Sequence[Group], apart_from: Iterable[str] = ()) -> list[str]:
    """A row's name for each group: the paper's row or the recipe's name, and what sets groups of one name apart.

    Args:
        groups: of one table.
        apart_from: dotted keys that the table itself shows.
    """
    plain = [_plain_name(group) for group in groups]
    names = []
    for group, name in zip(groups, plain, strict=True):
        namesakes = [other for other, own in zip(groups, plain, strict=True) if own == name]
        names.append(name if len(namesakes) == 1 else f"{name} ({_apart(group, namesakes, set(apart_from))})")
    return [
        f"{name} ({group.runs[0].folder})" if names.count(name) > 1 else name
        for group, name in zip(groups, names, strict=True)
    ]


def plain_recipe_name(name: str) -> str:
    """A recipe's name without what a sweep appends for the cell."""
    return _CELL.sub("", name)


def _plain_name(group: Group) -> str:
    return group.paper.row if group.paper is not None else plain_recipe_name(group.recipe.name)


def _apart(group: Group, namesakes: Sequence[Group], apart_from: set[str]) -> str:
    keys = [k for k in differing(*(settings(other.recipe) for other in namesakes)) if k not in apart_from]
    if not keys or len(keys) > _MOST_KEYS:
        return str(group.runs[0].folder)
    own = settings(group.recipe)
    return ", ".join(f"{key}={as_text(own.get(key))}" for key in keys)


def as_text(value: Any) -> str:
    """A setting as one would write it in an override."""
    return value if isinstance(value, str) else json.dumps(value)


def _key(recipe: Recipe, apart_from: Iterable[str] = ()) -> str:
    """The same for recipes of one experiment. Two rows of the paper stay two, even where their recipes agree."""
    own = {key: value for key, value in settings(recipe).items() if key not in apart_from}
    row = (str(recipe.paper.table), recipe.paper.row) if recipe.paper else None
    return json.dumps([row, own], sort_keys=True)


def _flat(values: dict[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
