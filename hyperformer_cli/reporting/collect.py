"""From folders to records: finished runs, sweeps, few-shot results; and what is not finished."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.folder import RunFolder

FORMAT_VERSION = 1  # of results.json, sweep.json and the few-shot files

Metric = tuple[str, str]  # task and metric


@dataclass(frozen=True)
class Run:
    """A finished run.

    `scores` holds per cent by split, then by task and metric; `parameters` what results.json counts; `selected` says
    whether its sweep chose its setting on validation.
    """

    folder: Path
    recipe: Recipe
    scores: Mapping[str, Mapping[Metric, float]]
    parameters: Mapping[str, float]
    selected: bool = False


@dataclass(frozen=True)
class FewShotScore:
    """One target at one number of examples: a value a seed, and what the majority label scores, in per cent."""

    task: str
    metric: str
    shots: int
    values: tuple[float, ...]
    majority: float


@dataclass(frozen=True)
class FewShot:
    """The results of one few-shot command: a method, trained in one way, started in one way.

    `name` is the paper's row where the folder is a run of one, else what fewshot.json says; `settings` is what else the
    cells were made with.
    """

    folder: Path
    name: str
    method: str
    train: str
    init_from: str
    split: str
    settings: Mapping[str, Any]
    scores: tuple[FewShotScore, ...]


@dataclass(frozen=True)
class Collected:
    """Everything found in the folders given, each folder once; `missing` names the runs that are not finished."""

    runs: tuple[Run, ...]
    fewshot: tuple[FewShot, ...]
    missing: tuple[Path, ...]


def collect(folders: Sequence[Path]) -> Collected:
    """Reads run folders, folders of sweeps, and folders of few-shot results.

    Args:
        folders: in the order in which they are to be reported. A sweep stands for its cells; a run whose tasks were
            trained each alone for itself, not for its cells.

    Raises:
        InputError: a folder is none of these, a file is damaged or of another format version, or nothing is finished.
    """
    runs: list[Run] = []
    fewshot: list[FewShot] = []
    missing: list[Path] = []
    seen: set[Path] = set()
    for folder, selected in (found for path in folders for found in _expand(Path(path))):
        # A run that counted twice would narrow the spread over seeds.
        if (resolved := folder.resolve()) in seen:
            continue
        seen.add(resolved)
        if (folder / "fewshot.json").is_file():
            fewshot.append(_read_fewshot(folder))
        run = RunFolder(folder)
        if run.results_file.is_file():
            runs.append(_read_run(run, selected))
        elif run.recipe_file.is_file() or not (folder / "fewshot.json").is_file():
            missing.append(folder)
    if not runs and not fewshot:
        raise InputError(f"nothing to report: no finished run ({_listed(missing)})")
    return Collected(tuple(runs), tuple(fewshot), tuple(missing))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of this format version.

    Raises:
        InputError: it cannot be read, is damaged, or is of another version.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: damaged: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: damaged: a mapping was expected")
    if value.get("format_version") != FORMAT_VERSION:
        version = value.get("format_version")
        raise InputError(f"{path}: format version {version}; this hyperformer reads {FORMAT_VERSION}")
    return value


def _expand(path: Path) -> Iterator[tuple[Path, bool]]:
    """The folders one argument stands for, each with whether a sweep selected it."""
    sweep = path / "sweep.json"
    own = [name for name in ("recipe.yaml", "fewshot.json") if (path / name).is_file()]
    # Tasks trained each alone: the common recipe is written when the first is done with all of them.
    begun = any(path.glob("cells/task=*/recipe.yaml"))
    if not own and not sweep.is_file() and not begun:
        reason = "it has no recipe.yaml, sweep.json or fewshot.json" if path.is_dir() else "no such folder"
        raise InputError(f"{path}: not a run folder ({reason})")
    if own or not sweep.is_file():
        yield path, False
    if sweep.is_file():
        summary = read_json(sweep)
        try:
            cells = [str(cell["cell"]) for cell in summary["cells"]]
            selected = list(summary.get("selected") or ())
        except (KeyError, TypeError) as error:
            raise InputError(f"{sweep}: damaged: {_fault(error)}") from error
        for cell in cells:
            yield path / "cells" / cell, cell in selected


def _read_run(run: RunFolder, selected: bool) -> Run:
    recipe, results = run.recipe(), read_json(run.results_file)
    scores: dict[str, dict[Metric, float]] = {}
    try:
        for score in results["results"]:
            scores.setdefault(score["split"], {})[score["task"], score["metric"]] = _number(score["value"])
        counted = ("trained", "total_ratio", "trained_per_task_percent")
        parameters = {key: _number(results["parameters"][key]) for key in counted}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run.results_file}: damaged: {_fault(error)}") from error
    return Run(run.path, recipe, scores, parameters, selected)


def _read_fewshot(folder: Path) -> FewShot:
    file = folder / "fewshot.json"
    content = read_json(file)
    try:
        scores = tuple(
            FewShotScore(
                str(score["task"]),
                str(score["metric"]),
                int(score["shots"]),
                tuple(_number(value) for value in score["values"]),
                _number(score["majority"]),
            )
            for score in content["results"]
        )
        about = [str(content[key]) for key in ("name", "method", "train", "init_from", "split")]
        settings = dict(content["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: damaged: {_fault(error)}") from error
    if not all(score.values for score in scores):
        raise InputError(f"{file}: damaged: a result without values")
    run = RunFolder(folder)
    paper = run.recipe().paper if run.recipe_file.is_file() else None
    name, *how = about
    return FewShot(folder, paper.row if paper else name, *how, settings, scores)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return value


def _fault(error: Exception) -> str:
    return f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)


def _listed(folders: Sequence[Path]) -> str:
    more = f" and {len(folders) - 3} more" if len(folders) > 3 else ""
    return "unfinished: " + ", ".join(str(folder) for folder in folders[:3]) + more
