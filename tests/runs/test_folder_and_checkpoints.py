"""Run folders: one writer, one recipe; checkpoints: whole, verified, or not there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.runs import checkpoints
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.storage.atomic import atomic_path, write_json
from hyperformer_cli.storage.trained import read_tensors, write_tensors


def write(run: Path, step: int, keep: int = 2) -> None:
    folder = checkpoints.pending_folder(run, step)
    for name in ("trained", "optimizer", "rng-0"):
        write_tensors(folder / f"{name}.safetensors", {"w": torch.full((3,), float(step))})
    checkpoints.commit(run, step, {"run": {"step": step}}, keep)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    program = (
        "import sys; from pathlib import Path; from hyperformer_cli.runs.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock(): pass"
    )
    command = [sys.executable, "-c", program, str(run.path)]
    with run.lock():
        second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 1 and "in use by another process (pid" in second.stderr
    assert subprocess.run(command, capture_output=True).returncode == 0
    with run.lock(), pytest.raises(HyperformerError, match="in use"), RunFolder(run.path).lock():
        pass


def test_a_folder_belongs_to_one_recipe(tmp_path: Path, recipe_values: dict) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.claim(build_recipe(recipe_values))
    run.claim(build_recipe({**recipe_values, "name": "renamed"}))
    other = {**recipe_values, "training": {**recipe_values["training"], "learning_rate": 1e-2}}
    with pytest.raises(InputError, match=r"training\.learning_rate is 0\.003 there and 0\.01 here"):
        run.claim(build_recipe(other))
    assert run.recipe().as_dict() == build_recipe(recipe_values).as_dict()


@pytest.mark.parametrize("kept", ["checkpoint-1", "best", "last", "results.json", "cells", "fewshot.json"])
def test_a_run_without_a_checkpoint_gives_way_to_a_corrected_recipe(
    kept: str, tmp_path: Path, recipe_values: dict
) -> None:
    run, wrong = RunFolder(tmp_path / "run"), build_recipe(recipe_values)
    right = build_recipe({**recipe_values, "training": {**recipe_values["training"], "learning_rate": 1e-2}})
    run.claim(wrong)
    with pytest.raises(InputError, match="another recipe"):  # it may be a person's own file
        run.claim(right)
    write_json(run.environment_file, {})
    run.check_is_free_for(right)
    run.claim(right)
    assert run.recipe().as_dict() == right.as_dict()
    (run.path / kept).mkdir()
    with pytest.raises(InputError, match="another recipe"):
        run.claim(wrong)
    assert run.recipe().as_dict() == right.as_dict()


def test_checkpoints_are_kept_and_found(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        write(tmp_path, step)
    newest, faults = checkpoints.newest(tmp_path)
    assert (newest.step, faults) == (15, [])
    assert read_tensors(newest.file("trained"))["w"].tolist() == [15.0] * 3
    assert newest.state() == {"run": {"step": 15}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-15"]


@pytest.mark.parametrize("damage", ["flip", "remove", "manifest", "incomplete", "unfinished"])
def test_a_damaged_checkpoint_is_passed_over(damage: str, tmp_path: Path) -> None:
    write(tmp_path, 5)
    write(tmp_path, 10)
    weights = tmp_path / "checkpoint-10" / "trained.safetensors"
    if damage == "flip":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "remove":
        weights.unlink()
    elif damage == "manifest":
        (tmp_path / "checkpoint-10" / "manifest.json").write_text("{")
    elif damage == "incomplete":
        manifest = '{"format_version": 1, "step": 10, "sha256": {}}'
        (tmp_path / "checkpoint-10" / "manifest.json").write_text(manifest)
    else:  # killed while writing: the temporary name is still there
        (tmp_path / "checkpoint-10").rename(checkpoints.pending_folder(tmp_path, 10))
    newest, faults = checkpoints.newest(tmp_path)
    assert newest.step == 5
    assert len(faults) == (0 if damage == "unfinished" else 1)
    assert not list(tmp_path.glob(".checkpoint-*"))


def test_metrics_of_steps_to_be_done_again_are_dropped(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for step in (1, 2, 3):
        run.append_metrics({"step": step})
    with run.metrics_file.open("a") as file:
        file.write('{"step": 4, "lo')
    run.forget_metrics_after(2)
    assert [json.loads(line)["step"] for line in run.metrics_file.read_text().splitlines()] == [1, 2]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
