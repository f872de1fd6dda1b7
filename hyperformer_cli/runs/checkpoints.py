"""Checkpoints: folders of safetensors and JSON that are whole or not there, and known by their hashes.

A checkpoint is written under a temporary name, its `manifest.json` with the SHA-256 of every file last, and renamed.
What cannot be verified is not resumed from.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from hyperformer_cli.storage.atomic import atomic_path, sync, write_json

MANIFEST = "manifest.json"
STATE = "state.json"
FORMAT_VERSION = 1
_REQUIRED = ("trained.safetensors", "optimizer.safetensors", "rng-0.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint."""

    path: Path

    @property
    def step(self) -> int:
        return int(self.path.name.removeprefix("checkpoint-"))

    def state(self) -> dict[str, Any]:
        return json.loads((self.path / STATE).read_text(encoding="utf-8"))

    def tensors(self, name: str) -> dict[str, Tensor]:
        return load_file(self.path / f"{name}.safetensors")


def pending_folder(run: Path, step: int) -> Path:
    """Where the parts of a checkpoint are gathered before it exists."""
    return run / f".checkpoint-{step}.tmp"


@contextmanager
def fresh_pending_folder(run: Path, step: int) -> Iterator[Path]:
    """An empty folder for the parts of a checkpoint; removed if the block fails."""
    folder = pending_folder(run, step)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_part(folder: Path, name: str, tensors: dict[str, Tensor]) -> None:
    """Adds `name`.safetensors to a pending checkpoint."""
    with atomic_path(folder / f"{name}.safetensors") as temporary:
        save_file(tensors, temporary)


def commit(run: Path, step: int, state: dict[str, Any], keep: int) -> Checkpoint:
    """Makes a checkpoint of the pending parts, then removes all but the newest `keep`."""
    folder, final = pending_folder(run, step), run / f"checkpoint-{step}"
    write_json(folder / STATE, state)
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    hashes = {path.name: _sha256(path) for path in files}
    write_json(folder / MANIFEST, {"format_version": FORMAT_VERSION, "step": step, "sha256": hashes})
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)
    sync(run)
    for old in _folders(run)[:-keep]:
        shutil.rmtree(old)
    return Checkpoint(final)


def newest(run: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies, and why newer ones do not; leftovers of a killed write are removed."""
    for leftover in run.glob(".checkpoint-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    faults = []
    for folder in reversed(_folders(run)):
        fault = _fault(folder)
        if fault is None:
            return Checkpoint(folder), faults
        faults.append(f"{folder.name}: {fault}")
    return None, faults


def remove_after(run: Path, step: int) -> None:
    """Removes checkpoints of later steps, which a resumed run will write again."""
    for folder in _folders(run):
        if Checkpoint(folder).step > step:
            shutil.rmtree(folder)


def _folders(run: Path) -> list[Path]:
    found = [path for path in run.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=lambda path: Checkpoint(path).step)


def _fault(folder: Path) -> str | None:
    """Why a folder is not a checkpoint to resume from."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format_version"] != FORMAT_VERSION:
            return f"format version {manifest['format_version']}"
        missing = {STATE, *_REQUIRED} - manifest["sha256"].keys()
        if missing:
            return f"{min(missing)} is not in the manifest"
        for name, expected in manifest["sha256"].items():
            if _sha256(folder / name) != expected:
                return f"{name} is damaged"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"unreadable ({error})"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
