"""What the bottleneck computes again in the backward pass: the same numbers, and less kept."""

import itertools

import pytest
import torch
from torch import Tensor

from hyperformer_cli.adapters.forms import bottleneck as bottleneck_form
from hyperformer_cli.adapters.forms.bottleneck import Bottleneck, BottleneckWeights
from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.config.forms import BottleneckOptions

ROWS, LENGTH, WIDTH = 4, 6, 32
Parts = list[Tensor]


def run(options: BottleneckOptions, per_row: bool, dtype: torch.dtype, autocast: bool = False) -> tuple[Tensor, Parts]:
    """The adapted output, and the gradients of the input and of every weight."""
    torch.manual_seed(0)
    form, site = Bottleneck(options), AdapterSite("encoder", 0, "feed_forward", WIDTH, WIDTH)
    rows = (ROWS,) if per_row else ()
    named = {
        name: torch.randn(*rows, *spec.shape, dtype=dtype).requires_grad_() for name, spec in form.tensors(site).items()
    }
    hidden = torch.randn(ROWS, LENGTH, WIDTH, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        output = form.apply(BottleneckWeights.from_named_tensors(named), None, hidden, training=True)
    weight = torch.randn(output.shape, dtype=output.dtype)
    return output.detach(), list(torch.autograd.grad((output * weight).sum(), [hidden, *named.values()]))


def plain(function, *tensors: Tensor) -> Tensor:
    return function(*tensors)


@pytest.mark.parametrize("per_row", [False, True], ids=["one task", "a task per row"])
@pytest.mark.parametrize(("before", "after"), itertools.product([False, True], repeat=2))
@pytest.mark.parametrize("non_linearity", ["gelu_new", "relu", "mish"])
def test_output_and_gradients_are_those_of_what_keeps_everything(
    before: bool, after: bool, per_row: bool, non_linearity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = BottleneckOptions(
        reduction_factor=4, layer_norm_before=before, layer_norm_after=after, non_linearity=non_linearity
    )
    found, gradients = run(options, per_row, torch.float64)
    low, low_gradients = run(options, per_row, torch.float32, autocast=True)
    monkeypatch.setattr(bottleneck_form, "recomputed", plain)
    expected, expected_gradients = run(options, per_row, torch.float64)
    assert torch.equal(found, expected)
    for own, other in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)
    low_expected, low_expected_gradients = run(options, per_row, torch.float32, autocast=True)
    assert torch.equal(low, low_expected)
    for own, other in zip(low_gradients, low_expected_gradients, strict=True):
        assert own.dtype == other.dtype == torch.float32
        torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-6)


def test_of_the_width_of_the_backbone_only_the_input_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def kept() -> int:
        form, site = Bottleneck(BottleneckOptions(reduction_factor=8)), AdapterSite("encoder", 0, "x", 256, 256)
        weights = {name: torch.randn(spec.shape, requires_grad=True) for name, spec in form.tensors(site).items()}
        known = {tensor.data_ptr() for tensor in weights.values()}
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            if tensor.data_ptr() not in known:
                sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        hidden = torch.randn(2, 16, 256, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = form.apply(BottleneckWeights.from_named_tensors(weights), None, hidden, training=True)
        assert output.requires_grad
        return sum(sizes.values())

    tokens = 2 * 16
    assert kept() == 4 * tokens * (256 + 256 // 8)
    monkeypatch.setattr(bottleneck_form, "recomputed", plain)
    assert kept() > 4 * tokens * 2 * 256


def test_weights_that_are_frozen_have_no_gradient() -> None:
    form, site = Bottleneck(BottleneckOptions(reduction_factor=4)), AdapterSite("encoder", 0, "x", WIDTH, WIDTH)
    weights = {name: torch.randn(spec.shape) for name, spec in form.tensors(site).items()}
    weights["up_weight"].requires_grad_()
    hidden = torch.randn(2, 3, WIDTH)
    form.apply(BottleneckWeights.from_named_tensors(weights), None, hidden, training=True).square().sum().backward()
    assert weights["up_weight"].grad is not None
    assert all(tensor.grad is None for name, tensor in weights.items() if name != "up_weight")
