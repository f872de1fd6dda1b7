"""The table of formats. To add one, write its module and put one entry here."""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType


@dataclass(frozen=True)
class Format:
    """A form of export.

    Attributes:
        module: of its code, below `export/`. `write(source, folder)` fills an empty folder, `verify(source, folder)`
            loads that again and yields a `TaskComparison` with the run for every task.
        tolerance: the largest difference of a logit that is accepted.
        nests: whether a run with one model per task becomes a folder of such folders; False asks for one of its
            models.
    """

    module: str
    tolerance: float = 1e-5
    nests: bool = True

    def load(self) -> ModuleType:
        """Its module, which is imported only when the format is asked for."""
        return import_module(f"hyperformer_cli.export.{self.module}")


FORMATS: dict[str, Format] = {
    "static": Format("static.static_export"),
    "hub": Format("hub.hub_export", nests=False),
    "peft": Format("peft.peft_export"),
    "merged": Format("merged.merged_export", tolerance=1e-4),  # other sums: (W + B A) x, not W x + B (A x)
    "adapterhub": Format("adapterhub.adapterhub_export"),
    "onnx": Format("onnx.onnx_export", tolerance=1e-4),  # the runtime sums in another order
}
