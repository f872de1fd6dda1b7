"""SIGKILL in the middle of a transfer and of an export: started again, both end as if nothing had been."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.runs.verify import verify_run
from hyperformer_cli.training.train_recipe import train_recipe

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(recipe_values: dict) -> Path:
    training = {**recipe_values["training"], "max_steps": 2}
    return train_recipe(build_recipe({**recipe_values, "tasks": ["cola", "mrpc"], "training": training})).path


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "hyperformer_cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(*arguments: object) -> None:
    process = start(*arguments)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def kill_when(process: subprocess.Popen, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not reached() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()
    time.sleep(random.Random(time.time_ns()).uniform(0, 0.05))
    process.kill()
    process.communicate()


def test_a_transfer(trained: Path, tmp_path: Path) -> None:
    options = ["--target-tasks", "stsb,mnli", "--init-from", "random", "--shots", "4,8", "--seeds", "1,2,3"]
    options += ["--set", "fewshot.max_steps=20", "--set", "fewshot.batch_size=4"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish("fewshot", trained, *options, "--output-dir", whole)
    for trials in (2, 5):
        process = start("fewshot", trained, *options, "--output-dir", cut)
        kill_when(process, lambda trials=trials: len(list(cut.glob("fewshot/*/*/seed-*.json"))) >= trials)
    finish("fewshot", trained, *options, "--output-dir", cut)
    assert json.loads((cut / "fewshot.json").read_text()) == json.loads((whole / "fewshot.json").read_text())
    assert verify_run(cut).is_whole and not list(cut.rglob("*.tmp"))


@pytest.mark.parametrize("format", ["static", "onnx"])
def test_an_export(format: str, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exports" / "x"
    for files in (1, 3):
        process = start("export", trained, "--format", format, "--to", folder)
        kill_when(process, lambda files=files: len(list(tmp_path.glob("exports/.x.*.tmp/**/*.*"))) >= files)
        assert not folder.exists()
    finish("export", trained, "--format", format, "--to", folder)
    assert [path.name for path in folder.parent.iterdir()] == ["x"]
    assert verify_run(folder).is_whole
