"""The table of formats."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hyperformer_cli.export.adapterhub.adapterhub_export import export_adapterhub, verify_adapterhub
from hyperformer_cli.export.hub.hub_export import export_hub, verify_hub
from hyperformer_cli.export.onnx.onnx_export import export_onnx, verify_onnx
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.static.static_export import export_static, verify_static
from hyperformer_cli.export.verification import TaskComparison


@dataclass(frozen=True)
class Format:
    """A form of export.

    Attributes:
        write: fills an empty folder.
        verify: loads the folder again and compares it with the run, task by task.
        tolerance: the largest difference of a logit that is accepted.
        nests: whether a run with one model per task becomes a folder of such folders; False asks for one of its
            models.
    """

    write: Callable[[ExportSource, Path], None]
    verify: Callable[[ExportSource, Path], Iterable[TaskComparison]]
    tolerance: float
    nests: bool = True


FORMATS: dict[str, Format] = {
    "static": Format(export_static, verify_static, tolerance=1e-5),
    "hub": Format(export_hub, verify_hub, tolerance=1e-5, nests=False),
    "adapterhub": Format(export_adapterhub, verify_adapterhub, tolerance=1e-5),
    "onnx": Format(export_onnx, verify_onnx, tolerance=1e-4),  # the runtime sums in another order
}
