"""Checkpoints: folders of safetensors and JSON files, verified by their hashes.

A checkpoint is written under a temporary name, its manifest last, and then renamed. A run is never resumed from a
checkpoint that cannot be verified.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import sync, write_json
from hyperformer_cli.storage.manifest import file_states, read_manifest, write_manifest

STATE = "state.json"
CHECKPOINT_NAME = re.compile(r"checkpoint-[0-9]+")
_REQUIRED = ("trained.safetensors", "optimizer.safetensors", "rng-0.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder."""

    path: Path

    @property
    def step(self) -> int:
        return int(self.path.name.removeprefix("checkpoint-"))

    def state(self) -> dict[str, Any]:
        return json.loads((self.path / STATE).read_text(encoding="utf-8"))

    def file(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"


def pending_folder(run: Path, step: int) -> Path:
    """The folder in which the files of a checkpoint are collected before it exists; `newest` removes old ones."""
    return run / f".checkpoint-{step}.tmp"


def commit(run: Path, step: int, state: dict[str, Any], keep: int) -> None:
    """Turns the pending folder into a checkpoint, then removes all checkpoints but the newest `keep`."""
    folder, final = pending_folder(run, step), run / f"checkpoint-{step}"
    write_json(folder / STATE, state)
    write_manifest(folder, step=step)
    if final.is_symlink() or final.is_file():  # not ours
        final.rename(final.with_name(f"{final.name}.moved"))
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)
    sync(run)
    for old in _found(run)[:-keep]:
        shutil.rmtree(old.path)


def newest(run: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest valid checkpoint, and what is wrong with newer ones. Removes what a killed process left behind."""
    for leftover in run.glob(".checkpoint-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    faults: list[str] = []
    for checkpoint in reversed(_found(run)):
        fault = _fault(checkpoint.path)
        if fault is None:
            return checkpoint, faults
        faults.append(f"{checkpoint.path.name}: {fault}")
    return None, faults


def remove_after(run: Path, step: int) -> None:
    """Removes the checkpoints of later steps, which a resumed run will write again."""
    for checkpoint in _found(run):
        if checkpoint.step > step:
            shutil.rmtree(checkpoint.path)


def _found(run: Path) -> list[Checkpoint]:
    """What looks like a checkpoint, the oldest first; files and symbolic links of such a name are none."""
    named = (path for path in run.glob("checkpoint-*") if CHECKPOINT_NAME.fullmatch(path.name))
    found = [Checkpoint(path) for path in named if path.is_dir() and not path.is_symlink()]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def _fault(folder: Path) -> str | None:
    """Why a run cannot be resumed from a folder; None if it can."""
    try:
        hashes = read_manifest(folder)
    except InputError as error:
        return f"unreadable ({error})"
    if hashes is None:
        return "has no manifest"
    missing = {STATE, *_REQUIRED} - hashes.keys()
    if missing:
        return f"{min(missing)} is not in the manifest"
    faults = (f"{name} is {state}" for name, state in file_states(folder, hashes).items() if state != "ok")
    return next(faults, None)
