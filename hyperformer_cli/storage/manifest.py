"""Manifests: `manifest.json` in a folder holds the SHA-256 of files in and below it, and is written after them.

A folder without one is read unchecked: earlier releases wrote none, and neither does `AdaptedModel.save_pretrained`.
"""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.storage.json_files import read_json

MANIFEST = "manifest.json"
FORMAT_VERSION = 1

FileState = Literal["ok", "damaged", "missing"]


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; an OSError for what is no regular file, such as a pipe."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, files: Iterable[Path] | None = None, **about: Any) -> None:
    """Writes the manifest of a folder.

    Args:
        folder: where it goes.
        files: in or below the folder; by default all of them.
        about: further entries.
    """
    chosen = files_of(folder) if files is None else sorted(files)
    hashes = {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in chosen}
    write_json(folder / MANIFEST, {"format_version": FORMAT_VERSION, **about, "sha256": hashes})


def remove_manifest(folder: Path) -> None:
    """Before a file of the folder changes: until the next manifest is written, nothing is promised of it."""
    file = folder / MANIFEST
    shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink(missing_ok=True)


def files_of(folder: Path) -> list[Path]:
    """All files in and below a folder, sorted, but its own manifest and hidden ones."""
    found = (path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def read_manifest(folder: Path) -> dict[str, str] | None:
    """The SHA-256 of the files of a folder, by path within it; None if there is no manifest.

    Raises:
        InputError: it is damaged, or of another format version.
    """
    file = folder / MANIFEST
    try:
        content = read_json(file)
        version, hashes = content["format_version"], dict(content["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: damaged ({error})") from error
    if version != FORMAT_VERSION:
        raise InputError(f"{file}: format version {version}; this release reads {FORMAT_VERSION}")
    return hashes


def file_states(folder: Path, hashes: dict[str, str]) -> dict[str, FileState]:
    """Whether files are what a manifest says, by path within the folder."""
    return {name: _state(folder / name, expected) for name, expected in hashes.items()}


def _state(file: Path, expected: str) -> FileState:
    try:
        return "ok" if sha256_of_file(file) == expected else "damaged"
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError):
        return "damaged"


def check_files(folder: Path, chosen: Callable[[str], bool] = lambda name: True) -> None:
    """Refuses a folder in which a file is not what its manifest says; a folder without a manifest passes.

    Args:
        folder: with the files.
        chosen: which files to check, by their path within the folder; the others are not read.

    Raises:
        InputError: naming the first such file, or the manifest if it is damaged.
    """
    recorded = read_manifest(folder) or {}
    for name, state in file_states(folder, {name: recorded[name] for name in recorded if chosen(name)}).items():
        if state != "ok":
            raise InputError(
                f"{folder / name}: missing or damaged: it is not the file whose SHA-256 {MANIFEST} holds; restore it "
                f"from a copy, or write the folder again (if you changed it yourself, remove {folder / MANIFEST})"
            )
