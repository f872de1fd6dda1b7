"""Hashes by which a backbone is recognised as the one that something was trained on.

Hashing the weights of a large backbone takes longer than anything else at a start, so the hash of a folder's weights is
kept in the cache folder, beside what the file system says of every file in it: device, inode, size, and the times of
the last change of content (mtime) and of anything (ctime), in nanoseconds. As long as these are the same, the weights
are not hashed again.

What is promised: a file that was written to, replaced, or copied over is noticed, even where its size and mtime were
put back, because no program can set ctime. What the disk itself loses without the file system's knowledge is noticed
only when the weights are hashed again.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedConfig

from hyperformer_cli.backbones.families import family_of
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.storage.cache import cache_root
from hyperformer_cli.storage.json_files import read_json


def configuration_hash(config: PreTrainedConfig) -> str:
    """SHA-256 of what determines the tensors' shapes and the arithmetic, to recognise a backbone of another shape."""
    values = family_of(config).identity_values(config)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def frozen_hash(backbone: nn.Module) -> str:
    """SHA-256 over the bytes of the frozen parameters, in the order of their names."""
    digest = hashlib.sha256()
    for name, parameter in sorted(backbone.named_parameters(prefix="backbone")):
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class FolderState:
    """What the file system says of a folder's files at one moment.

    Attributes:
        folder: its path.
        files: name, device, inode, size, mtime and ctime (ns) of each.
    """

    folder: Path
    files: list[list[str | int]]

    @classmethod
    def observe(cls, folder: Path | None) -> "FolderState | None":
        """The present state; None if there is no folder. To be called before the backbone is loaded from it."""
        try:
            paths = [] if folder is None else sorted(filter(Path.is_file, folder.iterdir()))
            found = [(path.name, path.stat()) for path in paths]
        except OSError:
            return None
        files: list[list[str | int]] = [
            [name, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in found
        ]
        return None if folder is None else cls(folder.resolve(), files)


def known_frozen_hash(backbone: nn.Module, state: FolderState | None) -> str:
    """`frozen_hash` of a backbone as it was loaded, from the cache where its folder has not changed since.

    Args:
        backbone: with its parameters frozen, in their final types.
        state: of its folder, from before it was loaded; None hashes in any case.
    """
    if state is None:
        return frozen_hash(backbone)
    file = cache_root() / "frozen" / f"{_key(backbone, state.folder)}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = read_json(file)
        if known["files"] == state.files and known["entry_sha256"] == _entry_hash(known):
            return str(known["frozen_sha256"])
    found = frozen_hash(backbone)
    if FolderState.observe(state.folder) == state:  # else it may be of either
        entry = {"folder": str(state.folder), "frozen_sha256": found, "files": state.files}
        with suppress(OSError):
            write_json(file, {**entry, "entry_sha256": _entry_hash(entry)})
    return found


def _entry_hash(entry: Mapping[str, Any]) -> str:
    """Of what the cache says of a folder: a digit that changed on the disk must not become a backbone's hash."""
    parts = [entry[key] for key in ("folder", "frozen_sha256", "files")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _key(backbone: nn.Module, folder: Path) -> str:
    """Of the folder, and of what else decides the frozen parameters: which they are, their types, and the library."""
    frozen = [(name, str(p.dtype)) for name, p in backbone.named_parameters() if not p.requires_grad]
    parts = [os.uname().nodename, str(folder), transformers.__version__, sorted(frozen)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
