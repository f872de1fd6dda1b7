"""Adapter forms: what an adapter is. One file per form; `config/forms.py` is the table of them."""

from hyperformer_cli.adapters.forms.form import AdapterWeights, Form, TensorSpec
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.config.forms import DEFAULT_FORM, FORMS

__all__ = ["AdapterWeights", "Form", "TensorSpec", "make_form"]


def make_form(config: AdapterConfig) -> Form:
    """The form that a configuration with adapters names, with its options."""
    return FORMS[config.form or DEFAULT_FORM].implement(config.model_dump())
