"""A toy adapter form, in one file: a learned scaling of a sub-layer's output. Run, it is the command line with it.

What is below `if __name__` is all that adding a form takes besides its implementation: one entry of the table.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from hyperformer_cli.config.forms import FORMS, FormEntry
from hyperformer_cli.schema.section import Section


class ScaleOptions(Section):
    """`output * scale`.

    Args:
        initial_scale: what the scale starts at.
    """

    initial_scale: float = Field(1.0, gt=0)


if __name__ == "__main__":
    sys.modules["learned_scale"] = sys.modules[__name__]
    FORMS["learned_scale"] = FormEntry(ScaleOptions, "learned_scale:LearnedScale")

# Modules that read the table come after its entry.
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from hyperformer_cli.adapters.forms.form import TensorSpec, sublayer_sites  # noqa: E402
from hyperformer_cli.adapters.sites import AdapterSite  # noqa: E402
from hyperformer_cli.backbones.family import Family  # noqa: E402


@dataclass(frozen=True)
class ScaleWeights:
    scale: Tensor

    def named_tensors(self) -> dict[str, Tensor]:
        return {"scale": self.scale}

    @classmethod
    def from_named_tensors(cls, named: Mapping[str, Tensor]) -> "ScaleWeights":
        return cls(named["scale"])


class LearnedScale:
    weights = ScaleWeights

    def __init__(self, options: ScaleOptions):
        self.options = options

    def find_sites(self, backbone: nn.Module, family: Family) -> dict[AdapterSite, nn.Module]:
        return sublayer_sites(backbone, family)

    def tensors(self, site: AdapterSite) -> dict[str, TensorSpec]:
        def start(shape: tuple[int, ...]) -> Tensor:
            return torch.full(shape, self.options.initial_scale)

        return {"scale": TensorSpec((site.output_width,), start, head_bias=start)}

    def arithmetic(self) -> dict[str, Any]:
        return {"form": "learned_scale"}

    def head_group(self, site: AdapterSite) -> str:
        return ""

    def apply(self, weights: ScaleWeights, inputs: Tensor | None, output: Tensor, training: bool) -> Tensor:
        return output * (weights.scale if weights.scale.dim() == 1 else weights.scale.unsqueeze(1))


if __name__ == "__main__":
    import json

    from typer.testing import CliRunner

    from hyperformer_cli.cli.main import app

    for arguments, stdin in json.load(sys.stdin):
        result = CliRunner().invoke(app, arguments, input=stdin)
        failure = repr(result.exception) if result.exception else None
        print(json.dumps({"code": result.exit_code, "out": result.stdout, "err": result.stderr, "failure": failure}))
