"""Groups: runs that differ in nothing but the seed. Curves: groups that differ in nothing but the training size."""

import itertools
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.sections import PaperRow
from hyperformer_cli.engine.averages import mean_of_metrics_and_tasks
from hyperformer_cli.reporting.collect import LabelFigures, Metric, Run
from hyperformer_cli.reporting.table import TableCell, over_seeds

SIZE = "data.samples_per_task"
# What changes no figure except by rounding: names, checkpoints, logs, compiling, how a batch is cut to fit a device.
_NOT_THE_EXPERIMENT = {
    "seed", "name", "output_dir", "training.save_every", "training.keep_checkpoints", "training.log_every",
    "training.report_to", "training.compile", "training.micro_batch_size", "training.micro_batching",
    "evaluation.batch_size",
    "model.gradient_checkpointing",
}  # fmt: skip
_MOST_KEYS = 3  # in a name, before the folder says it better


@dataclass(frozen=True)
class Group:
    """Runs of one experiment, one per seed, in the order of the seeds."""

    runs: tuple[Run, ...]

    @property
    def recipe(self) -> Recipe:
        return self.runs[0].recipe

    @property
    def paper(self) -> PaperRow | None:
        return self.recipe.paper

    @property
    def row(self) -> str | None:
        """Its row of the paper."""
        return self.paper.row if self.paper else None

    @property
    def size(self) -> int | None:
        """Training examples per task; None is all of them, or a number of its own for some tasks."""
        samples = self.recipe.data.samples_per_task
        return None if isinstance(samples, dict) else samples

    @property
    def folders(self) -> tuple[str, ...]:
        return tuple(str(run.folder) for run in self.runs)

    @property
    def selected(self) -> bool:
        """Whether a sweep chose its setting on validation."""
        return all(run.selected for run in self.runs)

    def metrics(self, split: str) -> tuple[Metric, ...]:
        return tuple(self.runs[0].scores.get(split, ()))

    def score(self, split: str, metric: Metric, printed: float | None = None) -> TableCell:
        """One metric over the seeds, in per cent."""
        return over_seeds([run.scores[split][metric] for run in self.runs], printed)

    def average(self, split: str, kind: str = "metrics", printed: float | None = None) -> TableCell:
        """An average over the seeds: of the `metrics`, which is the paper's, or of the `tasks`' own means."""
        scores = [[(*metric, value) for metric, value in run.scores[split].items()] for run in self.runs]
        return over_seeds([mean_of_metrics_and_tasks(own)[kind] for own in scores], printed)

    def labels(self, split: str) -> dict[str, dict[str, list[LabelFigures]]]:
        """By task and label: the figures of every seed."""
        found: dict[str, dict[str, list[LabelFigures]]] = {}
        for run in self.runs:
            for details in run.details:
                for own in details.labels if details.split == split else ():
                    found.setdefault(details.task, {}).setdefault(own.label, []).append(own)
        return found

    def confusions(self, split: str) -> dict[str, tuple[list[str], list[list[int]]]]:
        """By task: the names of its labels, and the confusion of the first seed, as in results.json."""
        return {
            own.task: ([label.label for label in own.labels], own.confusion)
            for own in self.runs[0].details
            if own.split == split and own.labels
        }


Curve = tuple[Group, ...]  # one method at several training sizes, the smallest first, all of the data last


def group_runs(runs: Iterable[Run]) -> tuple[list[Group], list[str]]:
    """Groups in the order of their first runs, and one line per run left out because its seed is a duplicate."""
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
        if isinstance(group.recipe.data.samples_per_task, dict):
            continue  # a size per task is no point of a curve
        by_rest.setdefault(without_size(group), []).append(group)
    curves = [tuple(sorted(own, key=lambda group: (group.size is None, group.size))) for own in by_rest.values()]
    return [curve for curve in curves if len(curve) > 1 or is_table(curve[0], "low-resource")]


def without_size(group: Group) -> str:
    """A key that groups share if they differ only in training size."""
    return _key(group.recipe, {SIZE})


def is_table(group: Group, name: str) -> bool:
    """Whether the recipe names this table of the paper, or its counterpart for the miniature."""
    return group.paper is not None and str(group.paper.table) in (name, f"mini {name}")


def is_miniature(recipe: Recipe) -> bool:
    """Whether a recipe runs on the bundled miniature, whose scores do not compare with the paper's."""
    return recipe.data.source == "bundled" or (recipe.paper is not None and str(recipe.paper.table).startswith("mini "))


def settings(recipe: Recipe) -> dict[str, Any]:
    """Dotted keys and values of everything that makes the experiment, except the seed."""
    plain = {key: value for key, value in recipe.as_dict().items() if key not in ("paper", "sweep", "fewshot")}
    return {key: value for key, value in _flat(plain, "") if key not in _NOT_THE_EXPERIMENT}


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys in which settings differ, without the options that another method does not have."""
    every = dict.fromkeys(itertools.chain(*settings))
    keys = [key for key in every if any(own.get(key) != settings[0].get(key) for own in settings)]
    if "adapter.method" not in keys:
        return keys
    return [key for key in keys if not key.startswith("adapter.") or all(own.get(key) is not None for own in settings)]


def override(key: str, value: Any) -> str:
    """A setting as one would write it on the command line."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def distinct_names(groups: Sequence[Group], apart_from: Collection[str] = ()) -> list[str]:
    """A row's name for each group: the paper's row or the recipe's name, and what sets groups of one name apart.

    `apart_from` holds dotted keys that the table itself shows.
    """
    names = [group.row or without_sweep_cell(group.recipe.name) for group in groups]
    all_settings = [{k: v for k, v in settings(group.recipe).items() if k not in apart_from} for group in groups]
    return set_apart(names, all_settings, [group.runs[0].folder for group in groups])


def without_sweep_cell(name: str) -> str:
    """A recipe's name without what a sweep appends for the cell."""
    return re.sub(r"/[^/]*=[^/]*$", "", name)


def set_apart(
    names: Sequence[str],
    settings: Sequence[Mapping[str, Any]],
    folders: Sequence[Path],
    write: Callable[[str, Any], str] = override,
) -> list[str]:
    """Adds to each duplicate name the settings, as `write` words them, that set it apart, or else its folder."""
    longer = []
    for name, own in zip(names, settings, strict=True):
        keys = differing([other for namesake, other in zip(names, settings, strict=True) if namesake == name])
        said = ", ".join(write(key, own.get(key)) for key in keys) if len(keys) <= _MOST_KEYS else ""
        longer.append(f"{name} ({said})" if said else name)
    return [
        f"{name} ({folder})" if longer.count(name) > 1 else name for name, folder in zip(longer, folders, strict=True)
    ]


def _key(recipe: Recipe, apart_from: Collection[str] = ()) -> str:
    """The same for recipes of one experiment. Two rows of the paper stay two, even where their recipes agree."""
    own = {key: value for key, value in settings(recipe).items() if key not in apart_from}
    row = (str(recipe.paper.table), recipe.paper.row) if recipe.paper else None
    return json.dumps([row, own], sort_keys=True)


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
