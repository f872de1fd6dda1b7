"""From folders to records: finished runs, sweeps and few-shot results; and which runs are not finished."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.listing import folders_below
from hyperformer_cli.runs.results import FORMAT_VERSION
from hyperformer_cli.storage.manifest import check_files

Metric = tuple[str, str]  # task and metric


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _File(_Record):
    format_version: int = Field(ge=FORMAT_VERSION, le=FORMAT_VERSION)


class Parameters(_Record):
    """The parameter columns of results.json."""

    total_ratio: FiniteFloat
    trained_per_task_percent: FiniteFloat
    trained: int


class FewShotScore(_Record):
    """One target at one number of examples: one value per seed, and what the majority label scores, in per cent."""

    task: str
    metric: str
    shots: int
    values: tuple[FiniteFloat, ...] = Field(min_length=1)
    majority: FiniteFloat


class FewShot(_File):
    """The results of one few-shot command, as in fewshot.json: one method, one way of training, one way of starting.

    `name` is the paper's row where the folder is a run of one; `settings` holds what else the trials were made with.
    """

    name: str
    method: str
    train: str
    init_from: str
    split: str
    settings: dict[str, Any]
    scores: tuple[FewShotScore, ...] = Field(alias="results")
    folder: Path = Path()


class _Score(_Record):
    task: str
    split: str
    metric: str
    value: FiniteFloat


class LabelFigures(_Record):
    """One label of `details` in results.json: per cent, and numbers of rows."""

    label: str
    precision: FiniteFloat
    recall: FiniteFloat
    f1: FiniteFloat
    examples: int
    predicted: int


class Details(_Record):
    """What results.json says of one task's answers on one split; `labels` and `confusion` of tasks with labels."""

    task: str
    split: str
    outside: int
    labels: list[LabelFigures] = []
    confusion: list[list[int]] = []


class _ResultsFile(_File):
    results: list[_Score]
    parameters: Parameters
    details: list[Details] = []  # earlier releases have none


class _SweepCell(_Record):
    cell: str


class _SweepFile(_File):
    cells: list[_SweepCell]
    selected: list[str] | None = None


_SomeFile = TypeVar("_SomeFile", bound=_File)


@dataclass(frozen=True)
class Run:
    """A finished run.

    `scores` holds per cent by split, then by task and metric; `selected` says whether its sweep chose its setting on
    validation; `details` are those of its answers.
    """

    folder: Path
    recipe: Recipe
    scores: Mapping[str, Mapping[Metric, float]]
    parameters: Parameters
    selected: bool = False
    details: tuple[Details, ...] = ()


@dataclass(frozen=True)
class Collected:
    """Everything found in the given folders, each folder once; `missing` names the runs that are not finished."""

    runs: tuple[Run, ...]
    fewshot: tuple[FewShot, ...]
    missing: tuple[Path, ...]


def collect(folders: Sequence[Path]) -> Collected:
    """Reads run folders, folders of sweeps, and folders of few-shot results.

    Args:
        folders: in the order of the report. A sweep stands for its cells; a run with one model per task stands for
            itself, not for its cells; another folder stands for all of these below it.

    Raises:
        InputError: a folder is none of these, a file is damaged or of another format version, or nothing is finished.
    """
    runs: list[Run] = []
    fewshot: list[FewShot] = []
    missing: list[Path] = []
    found: dict[Path, tuple[Path, bool]] = {}  # a run that counted twice would narrow the spread over seeds
    for path in folders:
        for folder, selected in _expand(path):
            found.setdefault(folder.resolve(), (folder, selected))
    for folder, selected in found.values():
        run, has_fewshot = RunFolder(folder), (folder / "fewshot.json").is_file()
        if has_fewshot:
            fewshot.append(_read_fewshot(run))
        if run.results_file.is_file():
            runs.append(_read_run(run, selected))
        elif run.recipe_file.is_file() or not has_fewshot:
            missing.append(folder)
    if not runs and not fewshot:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(f"nothing to report: no finished run (unfinished: {', '.join(map(str, missing[:3]))}{more})")
    return Collected(tuple(runs), tuple(fewshot), tuple(missing))


def _expand(path: Path) -> Iterator[tuple[Path, bool]]:
    """The folders that one argument stands for, each with whether a sweep selected it.

    Raises:
        InputError: there is no such folder, or nothing in it or below.
    """
    found = list(_expand_one(path))
    if not found:
        below = "and none is below it" if path.is_dir() else "no such folder"
        raise InputError(f"{path}: not a run folder (it has no recipe.yaml, sweep.json or fewshot.json; {below})")
    yield from found


def _expand_one(path: Path) -> Iterator[tuple[Path, bool]]:
    sweep = path / "sweep.json"
    own = any((path / name).is_file() for name in ("recipe.yaml", "fewshot.json"))
    # With one model per task, the common recipe is written when the last task is done.
    begun = any(path.glob("cells/task=*/recipe.yaml"))
    if not own and not sweep.is_file() and not begun:
        for below in folders_below(path):
            yield from _expand_one(below)
        return
    if own or not sweep.is_file():
        yield path, False
    if sweep.is_file():
        summary = _read(sweep, _SweepFile)
        for found in summary.cells:
            yield path / "cells" / found.cell, found.cell in (summary.selected or ())


def _read_run(run: RunFolder, selected: bool) -> Run:
    recipe, results = run.recipe(), _read(run.results_file, _ResultsFile)
    check_files(run.path, lambda file: file == run.results_file.name)
    scores: dict[str, dict[Metric, float]] = {}
    for score in results.results:
        scores.setdefault(score.split, {})[score.task, score.metric] = score.value
    return Run(run.path, recipe, scores, results.parameters, selected, tuple(results.details))


def _read_fewshot(run: RunFolder) -> FewShot:
    found = _read(run.path / "fewshot.json", FewShot)
    paper = run.recipe().paper if run.recipe_file.is_file() else None
    return found.model_copy(update={"folder": run.path, "name": paper.row if paper else found.name})


def _read(file: Path, kind: type[_SomeFile]) -> _SomeFile:
    """A JSON file, checked."""
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        if fault["loc"] == ("format_version",) and fault["type"] != "missing":
            version = f"format version {fault['input']}; this hyperformer reads {FORMAT_VERSION}"
            raise InputError(f"{file}: {version}") from error
        place = ".".join(map(str, fault["loc"]))
        raise InputError(f"{file}: damaged: {place + ': ' if place else ''}{fault['msg']}") from error
