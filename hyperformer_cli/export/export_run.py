"""One export: written to a temporary folder, loaded again, compared with the run, and only then renamed."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hyperformer_cli.errors import HyperformerError, InputError, WriteError, did_you_mean
from hyperformer_cli.export.formats import FORMATS
from hyperformer_cli.export.hub.upload import check_push, push
from hyperformer_cli.export.source import EXAMPLES, open_source
from hyperformer_cli.export.verification import TaskComparison
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.storage.atomic import atomic_folder
from hyperformer_cli.storage.manifest import write_manifest


@dataclass(frozen=True)
class ExportReport:
    """An export that was written and agrees with its run.

    Attributes:
        format: its name.
        folder: where it is.
        tolerance: the largest difference of a logit that would have been accepted.
        tasks: one comparison per task.
        files: size in bytes by path within the folder.
        seconds: from opening the run to the last comparison.
        pushed_to: the address of the hub's repository it was uploaded to, if it was.
    """

    format: str
    folder: Path
    tolerance: float
    tasks: list[TaskComparison]
    files: dict[str, int]
    seconds: float
    pushed_to: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder), "seconds": round(self.seconds, 3)}


def export_run(
    path: Path,
    format: str,
    to: Path | None = None,
    tasks: Sequence[str] | None = None,
    examples: int = EXAMPLES,
    backbone: Path | None = None,
    push_to: str | None = None,
    observer: Observer | None = None,
    with_backbone: bool = False,
) -> ExportReport:
    """Exports a run; one with one model per task (`joint: false`) into one folder per task.

    Args:
        path: the run folder, or an export that `AdaptedModel` can load.
        format: a key of `FORMATS`.
        to: a folder that does not exist; `RUN/export/<format>` by default.
        tasks: by default all of the run's.
        examples: rows per task on which the export is compared with the run.
        backbone: a folder with the model the run was trained on, if that model has moved.
        push_to: `owner/name` on the hub to upload a `hub` folder to.
        observer: is told of every comparison.
        with_backbone: also write the backbone; `peft` alone can leave it out.

    Raises:
        InputError: an unknown format or task, not a run, damaged files, or a target that exists.
        HyperformerError: the export does not compute what the run computes, and nothing is left behind; or it does,
            and could not be pushed.
    """
    if format not in FORMATS:
        raise InputError(f"unknown format '{format}'; {did_you_mean(format, FORMATS)}")
    if with_backbone and format != "peft":
        raise InputError(f"--with-backbone: only --format peft leaves the backbone out otherwise, not '{format}'")
    if push_to is not None:
        if format != "hub":
            raise InputError(f"--push-to: only --format hub makes a folder for the hub, not '{format}'")
        check_push(push_to)
    chosen, target, observer = FORMATS[format], to or path / "export" / format, observer or SILENT
    if os.path.lexists(target):
        raise InputError(f"{target} exists; choose another folder with --to, or remove it")
    start = time.perf_counter()
    run, exporter = OpenedRun(path, backbone=backbone), chosen.load()
    parts = (run if chosen.nests else run.with_one_model()).parts(tasks)  # by sub-folder; "" is the folder itself
    comparisons: list[TaskComparison] = []
    try:
        with atomic_folder(target) as folder:
            for name, part in parts.items():
                source = open_source(part, tasks, examples, with_backbone)
                (folder / name).mkdir(exist_ok=True)
                exporter.write(source, folder / name)
                write_manifest(folder / name)
                for comparison in exporter.verify(source, folder / name):
                    comparisons.append(comparison)
                    observer.reported(str(comparison))
                part.unload()  # one model in memory at a time
            _check(comparisons, chosen.tolerance)
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            sizes = {str(file.relative_to(folder)): file.stat().st_size for file in files}
    except WriteError:
        raise
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error}") from error
    seconds = time.perf_counter() - start
    pushed = None if push_to is None else push(target, push_to)
    return ExportReport(format, target, chosen.tolerance, comparisons, sizes, seconds, pushed)


def _check(comparisons: Sequence[TaskComparison], tolerance: float) -> None:
    for comparison in comparisons:
        if not comparison.difference <= tolerance or not comparison.ids_identical:
            ids = "the same" if comparison.ids_identical else "other"
            raise HyperformerError(
                f"the export does not compute what the run computes: task '{comparison.task}' differs by "
                f"{comparison.difference:.3g} in a logit (allowed: {tolerance:g}) and decodes {ids} tokens; "
                "nothing was kept"
            )
