"""What the tests of whole runs share: training in this process or another, stopping, comparing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.training.stopping import Stopped
from hyperformer_cli.training.train_recipe import train_recipe

_KEPT = tempfile.TemporaryDirectory(prefix="hyperformer-runs-")
_RUNS: dict[str, Path] = {}  # in that folder, by recipe and by the step after which they were stopped


def changed(values: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """A copy with keys replaced; mappings are merged."""
    return {
        **values,
        **{k: {**values.get(k, {}), **v} if isinstance(v, dict) else v for k, v in sections.items()},
    }


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / name / "hyperformer.safetensors")


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def train(values: dict[str, Any], folder: Path, observer: Observer = SILENT, **sections: Any) -> Path:
    return train_recipe(build_recipe(changed(values, output_dir=str(folder), **sections)), observer).path


def kept_run(values: dict[str, Any], folder: Path, stop_at: int | None = None, **sections: Any) -> Path:
    """A copy of a run that is trained once per test session and recipe: for tests that begin where it ends.

    Args:
        values, sections: the recipe.
        folder: the copy.
        stop_at: the step after which the run was stopped by a signal; by default it has ended.
    """
    recipe = {**changed(values, **sections), "output_dir": ""}
    key = json.dumps([recipe, stop_at], sort_keys=True)
    if key not in _RUNS:
        run = Path(_KEPT.name) / str(len(_RUNS))
        if stop_at is None:
            train(recipe, run)
        else:
            with pytest.raises(Stopped):
                train(recipe, run, StopAt(stop_at))
        _RUNS[key] = run
    return shutil.copytree(_RUNS[key], folder)


class StopAt(Observer):
    """Sends this process a signal after a step, as a cluster would."""

    def __init__(self, step: int, number: int = signal.SIGTERM):
        self.step, self.number = step, number

    def stepped(self, step: int) -> None:
        if step == self.step:
            os.kill(os.getpid(), self.number)


class StopInEvaluation(Observer):
    def evaluating(self, task: str, split: str, examples: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def assert_same_run(whole: Path, cut: Path) -> None:
    for folder in ("last", "best"):
        assert (whole / folder / "hyperformer.safetensors").read_bytes() == (
            cut / folder / "hyperformer.safetensors"
        ).read_bytes()
    read = lambda run: json.loads((run / "results.json").read_text())  # noqa: E731
    for key in ("results", "average", "best"):
        assert read(whole)[key] == read(cut)[key]
    timed = {"seconds", "examples_per_second"}
    lines = lambda run: [  # noqa: E731
        {k: v for k, v in json.loads(line).items() if k not in timed}
        for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    assert lines(whole) == lines(cut)


def start(recipe: Path, folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "hyperformer_cli", "train", str(recipe), f"output_dir={folder}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=recipe.parent)
