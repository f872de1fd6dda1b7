"""Every file of a run against its manifest: its own, its checkpoints', its cells', its exports'."""

from dataclasses import dataclass
from pathlib import Path

from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.manifest import MANIFEST, FileState, file_states, files_of, read_manifest


@dataclass(frozen=True)
class Verification:
    """What was found in a folder; paths are within it.

    Attributes:
        files: the state of every file that a manifest lists, and of every manifest that cannot be read.
        unlisted: files beside a manifest that does not list them.
        without_manifest: folders with files that no manifest lists, each with their number.
    """

    files: dict[str, FileState]
    unlisted: list[str]
    without_manifest: dict[str, int]

    @property
    def is_whole(self) -> bool:
        """Whether every listed file is what its manifest says."""
        return all(state == "ok" for state in self.files.values())


def verify_run(path: Path) -> Verification:
    """Checks a run, a sweep, or an export, with all folders in it.

    Raises:
        InputError: it is no folder, or an empty one.
    """
    present = files_of(path) if path.is_dir() else []
    manifests = sorted(path.rglob(MANIFEST))
    if not present and not manifests:
        raise InputError(f"{path}: not a run folder (there are no files in it)")
    files: dict[str, FileState] = {}
    for manifest in manifests:
        inside = manifest.parent.relative_to(path)
        if any(part.startswith(".") for part in inside.parts):  # a temporary folder
            continue
        try:
            recorded = read_manifest(manifest.parent) or {}
        except InputError:
            files[(inside / MANIFEST).as_posix()] = "damaged"
            continue
        for name, state in file_states(manifest.parent, recorded).items():
            files[(inside / name).as_posix()] = state
    unlisted: list[str] = []
    without: dict[str, int] = {}
    for file in present:
        inside = file.relative_to(path)
        if inside.as_posix() in files or file.name == MANIFEST:
            continue
        if (file.parent / MANIFEST).is_file():
            unlisted.append(inside.as_posix())
        else:
            folder = inside.parent.as_posix()
            without[folder] = without.get(folder, 0) + 1
    return Verification(files, unlisted, without)
