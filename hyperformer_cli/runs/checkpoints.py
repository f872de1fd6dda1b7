"""Checkpoints: folders of safetensors and JSON files, verified by their hashes.

A checkpoint is written under a temporary name, `manifest.json` with the SHA-256 of every file last, and then renamed.
A run is never resumed from a checkpoint that cannot be verified.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperformer_cli.storage.atomic import sync, write_json
from hyperformer_cli.storage.hashing import sha256_of_file

MANIFEST = "manifest.json"
STATE = "state.json"
FORMAT_VERSION = 1
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
    hashes = {path.name: sha256_of_file(path) for path in sorted(folder.iterdir())}
    write_json(folder / MANIFEST, {"format_version": FORMAT_VERSION, "step": step, "sha256": hashes})
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
    """What looks like a checkpoint, the oldest first."""
    found = [Checkpoint(path) for path in run.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def _fault(folder: Path) -> str | None:
    """Why a run cannot be resumed from a folder; None if it can."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format_version"] != FORMAT_VERSION:
            return f"format version {manifest['format_version']}"
        missing = {STATE, *_REQUIRED} - manifest["sha256"].keys()
        if missing:
            return f"{min(missing)} is not in the manifest"
        for name, expected in manifest["sha256"].items():
            if sha256_of_file(folder / name) != expected:
                return f"{name} is damaged"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"unreadable ({error})"
    return None
