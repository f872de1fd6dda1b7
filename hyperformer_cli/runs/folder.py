"""The run folder: where its files are, which process may write to it, and which recipe it belongs to.

recipe.yaml  environment.json  best/  last/  checkpoint-N/  metrics.jsonl  results.json  manifest.json  cells/
"""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hyperformer_cli.config.cells import part_folders
from hyperformer_cli.config.loading import dump_recipe, load_recipe
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.errors import HyperformerError, InputError, WriteError
from hyperformer_cli.storage.atomic import write_json, write_text, writing
from hyperformer_cli.storage.json_files import read_json
from hyperformer_cli.storage.manifest import MANIFEST, check_files, write_manifest

# These keys may differ when a run is started again: none of them changes the trained weights.
_FREE_TO_CHANGE = (
    "name", "paper", "output_dir", "fewshot", "training.save_every", "training.keep_checkpoints", "training.log_every",
    "training.report_to",
)  # fmt: skip
_SECONDS_BETWEEN_LOOKS = 1.0
_NAMED = 5  # keys of another recipe that a message names


class FolderInUse(HyperformerError):
    """Another process writes to a run folder."""

    def __init__(self, folder: "RunFolder", owner: str):
        super().__init__(f"{folder.path} is in use by another process ({owner})")
        self.folder = folder


class RunFolder:
    """Paths of one run, and what may be done with its files."""

    def __init__(self, path: Path):
        self.path = path
        self.recipe_file, self.environment_file = path / "recipe.yaml", path / "environment.json"
        self.metrics_file, self.results_file = path / "metrics.jsonl", path / "results.json"
        self.best, self.last = path / "best", path / "last"

    def weights(self, name: str = "best") -> Path:
        """The folder of the trained weights: `best/` or `last/`, or for an export the folder itself.

        Raises:
            InputError: there are no such weights.
        """
        for folder in [self.path / name, *([self.path] if name == "best" else [])]:
            if (folder / "hyperformer.json").is_file():
                return folder
        raise InputError(f"{self.path}: no {name}/ weights yet; the run has not been evaluated")

    def parts(self, recipe: Recipe) -> dict[str, "RunFolder"]:
        """The folders that hold the models, by name; see `config.cells`."""
        return {name: RunFolder(path) for name, path in part_folders(recipe, self.path).items()}

    def recipe(self, overrides: Iterable[str] = ()) -> Recipe:
        """The resolved recipe that the run was started with, with `dotted.key=value` changes to it.

        Raises:
            InputError: the folder is not a run, its recipe is damaged, or an override does not fit.
        """
        if self.recipe_file.is_file():
            return load_recipe(self.recipe_file, overrides)
        if (self.path / "sweep.json").is_file():
            raise InputError(f"{self.path}: a sweep; give the run of one of its cells, such as {self.path}/cells/...")
        raise InputError(f"{self.path}: not a run folder (it has no recipe.yaml)")

    def results(self) -> dict[str, Any]:
        """The content of results.json.

        Raises:
            OSError: it is missing.
            InputError: it is damaged.
        """
        check_files(self.path, lambda file: file == self.results_file.name)
        try:
            content = read_json(self.results_file)
        except ValueError as error:
            raise InputError(f"{self.results_file}: damaged ({error})") from error
        scores = content.get("results") if isinstance(content, dict) else None
        if not isinstance(scores, list) or not all(isinstance(score, dict) for score in scores):
            raise InputError(f"{self.results_file}: damaged: it has no list of results")
        if not isinstance(content.get("average"), dict):
            raise InputError(f"{self.results_file}: damaged: it has no averages")
        return content

    def finish(self, recipe: Recipe, results: dict[str, Any]) -> None:
        """Writes results.json, and a manifest of the run's own files and of the manifests of what it consists of."""
        write_json(self.results_file, results)
        parts = [part.path for name, part in self.parts(recipe).items() if name]
        own = (self.recipe_file, self.environment_file, self.metrics_file, self.results_file)
        chained = (folder / MANIFEST for folder in (self.best, self.last, *parts))
        write_manifest(self.path, filter(Path.is_file, (*own, *chained)))

    def is_complete(self) -> bool:
        """Whether there are results."""
        try:
            self.results()
        except (OSError, ValueError):
            return False
        return True

    def remove_leftovers(self) -> None:
        """Removes the temporary files of a process that was killed while writing."""
        for folder in (".", "best", "last", "fewshot/**"):
            for leftover in filter(Path.is_file, self.path.glob(f"{folder}/.*.tmp")):
                leftover.unlink()

    def is_of(self, recipe: Recipe) -> bool:
        """Whether the folder holds a run of this recipe."""
        return self.recipe_file.is_file() and not self._differences(recipe)

    def claim(self, recipe: Recipe) -> None:
        """Writes the recipe into a new folder, or checks that an existing run was started with the same one.

        A run that has reached no checkpoint is replaced: what kept it from one may have been its recipe.

        Raises:
            InputError: the folder holds a run of another recipe, or something else under the name of a run's file.
        """
        self.check_is_free_for(recipe)
        for file in (self.recipe_file, self.environment_file, self.metrics_file, self.results_file):
            if os.path.lexists(file) and not file.is_file():
                raise InputError(f"{file}: not a file; remove it, or choose another output_dir")
        for folder in (self.best, self.last):
            if os.path.lexists(folder) and not folder.is_dir():
                raise InputError(f"{folder}: not a folder; remove it, or choose another output_dir")
        if not self.recipe_file.is_file() or self._has_only_begun():
            write_text(self.recipe_file, dump_recipe(recipe))

    def check_is_free_for(self, recipe: Recipe) -> None:
        """Checks that `claim` would take the folder for a recipe; changes nothing.

        Raises:
            InputError: the folder holds a run of another recipe.
        """
        if not self.recipe_file.is_file() or self._has_only_begun():
            return
        differences = sorted(self._differences(recipe).items())
        if differences:
            named = [f"{key} is {there!r} there and {here!r} here" for key, (there, here) in differences]
            more = f", and {len(named) - _NAMED} other keys differ" if len(named) > _NAMED else ""
            raise InputError(
                f"{self.path} holds a run of another recipe: {', '.join(named[:_NAMED])}{more}; "
                "choose another output_dir, or remove the folder"
            )

    def _has_only_begun(self) -> bool:
        """Whether a run claimed the folder and left nothing that could be lost."""
        kept = ("checkpoint-*", "best", "last", "results.json", "cells", "fewshot*")
        return self.environment_file.is_file() and not any(any(self.path.glob(pattern)) for pattern in kept)

    def _differences(self, recipe: Recipe) -> dict[str, tuple[Any, Any]]:
        return _differences(self.recipe().as_dict(), recipe.as_dict())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps a second process from writing to the folder. The kernel releases the lock however this process ends.

        Raises:
            FolderInUse: another process holds the lock.
            InputError: the folder cannot be written.
        """
        try:
            with writing(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                file = (self.path / ".lock").open("a+")
        except WriteError:
            raise
        except OSError as error:
            raise InputError(f"output_dir {self.path}: cannot be written: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise FolderInUse(self, owner) from None
            with writing(self.path / ".lock"):
                file.truncate(0)
                file.write(f"pid {os.getpid()} on {os.uname().nodename}")
                file.flush()
            yield

    def wait_until_free(self) -> None:
        """Returns when no other process holds the lock."""
        while True:
            try:
                with self.lock():
                    return
            except FolderInUse:
                time.sleep(_SECONDS_BETWEEN_LOOKS)

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""
        with writing(self.metrics_file), self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_metrics_after(self, step: int) -> int:
        """Removes the lines of steps that a resumed run will repeat, and a line that was cut off.

        Returns:
            The number of other lines that were removed because they are damaged.
        """
        if not self.metrics_file.is_file():
            return 0
        *whole, _ = self.metrics_file.read_bytes().split(b"\n")
        kept, damaged = [], 0
        for line in whole:
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line.decode())
            except (ValueError, KeyError, TypeError):
                damaged += 1
        write_text(self.metrics_file, "".join(line + "\n" for line in kept))
        return damaged


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Both values of the dotted keys that differ, except of those that are free to change."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in there.keys() | here.keys():
        dotted, old, new = f"{prefix}{key}", there.get(key), here.get(key)
        if old == new or dotted in _FREE_TO_CHANGE:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found |= _differences(old, new, f"{dotted}.")
        else:
            found[dotted] = (old, new)
    return found
