"""The table of adapter forms: for each its options, and where its implementation is.

An adapter form says what an adapter is (see `adapters/forms/`). To add one, write its implementation and put one entry
here; its options become fields of `AdapterConfig`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Annotated, Any, Literal

from pydantic import Field

from hyperformer_cli.schema.section import Distinct, Positive, Section

NonLinearity = Literal["gelu_new", "gelu", "relu", "silu", "swish", "tanh", "sigmoid", "mish", "quick_gelu"]
TargetModules = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1), Distinct]
DEFAULT_FORM = "bottleneck"
ALL_LINEAR = "all-linear"  # every linear map of every layer, as in PEFT


@dataclass(frozen=True)
class FormEntry:
    """One adapter form.

    Attributes:
        options: its fields of `AdapterConfig`, with their defaults.
        implementation: `module:attribute` of a class that is called with the options; see `adapters.forms.form.Form`.
        train_layer_norms: the default of `AdapterConfig.train_layer_norms`.
        of_hypernetworks: options that only methods with a hypernetwork use.
        always: options that methods, by name, fix to their default.
    """

    options: type[Section]
    implementation: str
    train_layer_norms: bool = True
    of_hypernetworks: frozenset[str] = frozenset()
    always: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def defaults(self, with_hypernetwork: bool) -> dict[str, Any]:
        """The default of every option that such a method uses."""
        unused = frozenset() if with_hypernetwork else self.of_hypernetworks
        return {name: info.get_default() for name, info in self.options.model_fields.items() if name not in unused}

    def implement(self, options: Mapping[str, Any]) -> Any:
        """The form with these options; those that the method does not use may be missing or None."""
        given = {name: options[name] for name in self.options.model_fields if options.get(name) is not None}
        return resolve_name(self.implementation)(self.options(**given))


class BottleneckOptions(Section):
    """The paper's adapter (Section 2.1): `LN(U(activation(D x))) + x` on a sub-layer's output.

    Args:
        reduction_factor: r; the bottleneck is the hidden size divided by r.
        non_linearity: activation of the bottleneck, by its name in transformers.
        layer_norm_before: an extra layer norm on the adapter's input.
        layer_norm_after: the paper's layer norm on the up-projected output.
        conditional_layer_norm: whether hypernetworks generate the adapters' layer norms too.
        init: `paper`, or `zero`, with which training starts at the backbone itself: what is added to the sub-layer's
            output is zero, because the scale of the layer norm behind the up-projection is, or without that norm the
            up-projection.
    """

    reduction_factor: Positive = 32
    non_linearity: NonLinearity = "gelu_new"
    layer_norm_before: bool = False
    layer_norm_after: bool = True
    conditional_layer_norm: bool = True
    init: Literal["paper", "zero"] = "paper"


class LoraOptions(Section):
    """LoRA (Hu et al., 2022, https://arxiv.org/abs/2106.09685): `W x + (alpha / rank) B A dropout(x)` on linear maps.

    Args:
        rank: r, the rows of A and columns of B.
        alpha: what is divided by the rank to scale the product.
        dropout: probability with which an input of A is dropped in training.
        target_modules: linear maps of the layers by the end of their names, as in PEFT (`q_proj`, `mlp.up_proj`), or
            `all-linear`; the backbone's query and value projections where it is None.
    """

    rank: Positive = 8
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: Literal["all-linear"] | TargetModules | None = None


FORMS: dict[str, FormEntry] = {
    "bottleneck": FormEntry(
        BottleneckOptions,
        "hyperformer_cli.adapters.forms.bottleneck:Bottleneck",
        of_hypernetworks=frozenset({"conditional_layer_norm"}),
        always={"conditional_layer_norm": ("hyperformer-shared-layers", "hyperformer++")},
    ),
    # Layer norms stay frozen, so that what PEFT, vLLM and llama.cpp load is the whole model.
    "lora": FormEntry(LoraOptions, "hyperformer_cli.adapters.forms.lora:Lora", train_layer_norms=False),
}
