"""One export: written to a temporary folder, loaded again, compared with the run, and only then given its name."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hyperformer_cli.errors import HyperformerError, InputError, did_you_mean
from hyperformer_cli.export.adapterhub import export_adapterhub, verify_adapterhub
from hyperformer_cli.export.hub import check_push, export_hub, push, verify_hub
from hyperformer_cli.export.onnx import export_onnx, verify_onnx
from hyperformer_cli.export.source import EXAMPLES, ExportSource, open_run
from hyperformer_cli.export.static import export_static, verify_static
from hyperformer_cli.export.verification import Comparison
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.storage.atomic import atomic_folder


@dataclass(frozen=True)
class Format:
    """A form of export.

    Attributes:
        write: fills an empty folder and returns the files it wrote.
        verify: loads the folder again and compares it with the run.
        tolerance: the largest difference of a logit that is no fault.
        nests: whether a run of a model a task makes a folder of such folders; False asks for one of its models.
    """

    write: Callable[[ExportSource, Path], list[Path]]
    verify: Callable[[ExportSource, Path], Comparison]
    tolerance: float
    nests: bool = True


FORMATS: dict[str, Format] = {
    "static": Format(export_static, verify_static, tolerance=1e-5),
    "hub": Format(export_hub, verify_hub, tolerance=1e-5, nests=False),
    "adapterhub": Format(export_adapterhub, verify_adapterhub, tolerance=1e-5),
    "onnx": Format(export_onnx, verify_onnx, tolerance=1e-4),  # the runtime sums in another order
}


@dataclass(frozen=True)
class TaskReport:
    """How far one task's export is from the run: the largest difference of a logit, and on which inputs."""

    task: str
    difference: float
    ids_identical: bool
    inputs: str


@dataclass(frozen=True)
class ExportReport:
    """What an export came to.

    Attributes:
        format: its name.
        folder: where it lies.
        tolerance: the largest difference of a logit that would have been no fault.
        tasks: one comparison a task.
        files: size in bytes by path within the folder.
        seconds: from opening the run to the last comparison.
        pushed_to: the address of the hub's repository it was uploaded to, if it was.
    """

    format: str
    folder: Path
    tolerance: float
    tasks: list[TaskReport]
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
    after_task: Callable[[TaskReport], None] = lambda report: None,
) -> ExportReport:
    """Exports a run; one of a model a task (`joint: false`) into a folder a task.

    Args:
        path: the run folder.
        format: a key of `FORMATS`.
        to: a folder that does not exist; `RUN/export/<format>` by default.
        tasks: by default all of the run's.
        examples: rows a task on which the export is compared with the run.
        backbone: a folder with the model the run was trained on, where that is no longer where it was.
        push_to: `owner/name` on the hub to upload a `hub` folder to.
        after_task: called with every comparison.

    Raises:
        InputError: an unknown format or task, not a run, damaged files, or a target that exists.
        HyperformerError: the export does not compute what the run computes, and nothing is left behind; or it does,
            and was not pushed.
    """
    if format not in FORMATS:
        raise InputError(f"unknown format '{format}'; {did_you_mean(format, FORMATS)}")
    if push_to is not None:
        if format != "hub":
            raise InputError(f"--push-to: only --format hub makes a folder for the hub, not '{format}'")
        check_push(push_to)
    chosen, target = FORMATS[format], to or path / "export" / format
    runs = _runs(RunFolder(path), tasks, chosen)
    if os.path.lexists(target):
        raise InputError(f"{target} exists; choose another folder with --to, or remove it")
    start = time.perf_counter()
    reports, sizes = [], {}
    try:
        with atomic_folder(target) as folder:
            for name, (run, own_tasks) in runs.items():
                source = open_run(run.path, own_tasks, examples, backbone)
                (folder / name).mkdir(exist_ok=True)
                files = chosen.write(source, folder / name)
                sizes |= {str(file.relative_to(folder)): file.stat().st_size for file in files}
                for report in _verified(source, chosen, folder / name):
                    reports.append(report)
                    after_task(report)
            _check(reports, chosen)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error}") from error
    seconds = time.perf_counter() - start
    pushed = None if push_to is None else push(target, push_to)
    return ExportReport(format, target, chosen.tolerance, reports, sizes, seconds, pushed)


def _runs(
    run: RunFolder, tasks: Sequence[str] | None, chosen: Format
) -> dict[str, tuple[RunFolder, Sequence[str] | None]]:
    """The runs to export and which of their tasks, by the sub-folder each goes to; "" is the folder itself."""
    recipe = run.recipe()
    if recipe.joint:
        return {"": (run, tasks)}
    cells = {task: run.cell(task=task) for task in recipe.task_names}
    for task in tasks or ():
        if task not in cells:
            raise InputError(f"the run has no task '{task}'; {did_you_mean(task, cells)}")
    if not chosen.nests:
        first = next(iter(cells.values())).path
        raise InputError(f"{run.path}: holds a model a task; export one of them, such as {first}")
    return {task: (cell, None) for task, cell in cells.items() if tasks is None or task in tasks}


def _verified(source: ExportSource, chosen: Format, folder: Path) -> list[TaskReport]:
    found = chosen.verify(source, folder)
    return [TaskReport(task, *found[task], source.origins[task]) for task in source.tasks]


def _check(reports: Sequence[TaskReport], chosen: Format) -> None:
    for report in reports:
        if not report.difference <= chosen.tolerance or not report.ids_identical:
            ids = "the same" if report.ids_identical else "other"
            raise HyperformerError(
                f"the export does not compute what the run computes: task '{report.task}' differs by "
                f"{report.difference:.3g} in a logit (allowed: {chosen.tolerance:g}) and decodes {ids} tokens; "
                "nothing was kept"
            )
