"""The files of few-shot transfer: one per trial, and `fewshot.json` with mean and standard deviation over seeds."""

import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.storage.json_files import read_json
from hyperformer_cli.storage.manifest import read_manifest, sha256_of_file, write_manifest

FORMAT_VERSION = 1


@dataclass(frozen=True, order=True)
class FewShotTrial:
    """One training of a transfer: `shots` examples of a task, which are drawn and trained on with a seed."""

    task: str
    shots: int
    seed: int

    def __str__(self) -> str:
        return f"{self.task}, {self.shots} examples, seed {self.seed}"


def trial_file(folder: Path, trial: FewShotTrial) -> Path:
    return folder / "fewshot" / trial.task / f"{trial.shots}-shot" / f"seed-{trial.seed}.json"


def read_trials(folder: Path) -> dict[FewShotTrial, dict[str, Any]]:
    """The files of all trials that are done. A file that is damaged, or not the one in the manifest, counts as missing.

    Raises:
        InputError: a file has another format version, or the manifest is damaged.
    """
    trials, hashes = {}, read_manifest(folder / "fewshot") or {}
    for file in sorted((folder / "fewshot").glob("*/*-shot/seed-*.json")):
        try:
            content = read_json(file)
            if (version := content["format_version"]) != FORMAT_VERSION:
                raise InputError(f"{file}: format version {version}; this release reads {FORMAT_VERSION}")
            known = sha256_of_file(file)
            if hashes.get(file.relative_to(folder / "fewshot").as_posix(), known) != known:
                continue
            trial = FewShotTrial(content["task"], int(content["shots"]), int(content["seed"]))
            if content["results"] and isinstance(content["settings"], dict) and file == trial_file(folder, trial):
                trials[trial] = content
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return trials


def check_settings(
    folder: Path, common: Mapping[str, Any], by_task: Mapping[str, Mapping[str, Any]]
) -> Collection[FewShotTrial]:
    """The trials in a folder, which must have been made like those to come: means are over equal trials only.

    Args:
        folder: that of the trials.
        common: settings of all trials to come.
        by_task: further settings of the trials to come, by task.

    Raises:
        InputError: a trial was made in another way, or its file has another format version.
    """
    trials = read_trials(folder)
    for trial, content in trials.items():
        for key, value in {**common, **by_task.get(trial.task, {})}.items():
            before = content["settings"].get(key)
            if before != value:
                what = "other data or another template" if key == "data_sha256" else f"{key} {before!r}, now {value!r}"
                raise InputError(
                    f"{trial_file(folder, trial)} was made with {what}; give another --output-dir, or remove the folder"
                )
    return trials.keys()


def write_trial(folder: Path, trial: FewShotTrial, settings: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Writes a trial's file (its settings, and what `found` holds of its outcome), and the manifest of all trials."""
    made = {"init_from": settings["init_from"], "train": settings["train"], "settings": dict(settings)}
    content = {"format_version": FORMAT_VERSION, **asdict(trial), **made, **found}
    write_json(trial_file(folder, trial), content)
    write_manifest(folder / "fewshot")


def write_summary(folder: Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `fewshot.json` over all trials in the folder, sorted by task and shots; returns its content."""
    trials = read_trials(folder)
    groups = groupby(sorted(trials), key=lambda trial: (trial.task, trial.shots))
    results = [row for _, group in groups for row in _rows([trials[trial] for trial in group])]
    summary = {"format_version": FORMAT_VERSION, **head, "split": "test", "results": results}
    write_json(folder / "fewshot.json", summary)
    return summary


def _rows(trials: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row per metric, over the seeds of one task and number of shots."""
    first = trials[0]
    for number, score in enumerate(first["results"]):
        values = [trial["results"][number]["value"] for trial in trials]
        yield {
            "task": first["task"],
            "shots": first["shots"],
            "metric": score["metric"],
            "mean": round(statistics.fmean(values), 4),
            "std": round(statistics.stdev(values), 4) if len(values) > 1 else None,
            "n": len(values),
            "majority": score["majority"],
            "init_from": first["init_from"],
            "seeds": [trial["seed"] for trial in trials],
            "values": values,
        }
