"""Every covered architecture: against hand-written layers, rows alone, a slow loss, gradients, closed counts."""

from collections.abc import Callable, Sequence
from functools import partial
from types import MethodType
from typing import Any

import pytest
import torch
from tiny_backbones import DECODER_ONLY, ENCODER_DECODER, TASKS, adapted, tiny_backbone, token_ids
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from hyperformer_cli import AdaptedModel, AdapterSite, AdapterWeights, count_parameters
from hyperformer_cli.config.adapter import METHODS
from hyperformer_cli.engine.decoding import decode_greedily, greedy_rules
from hyperformer_cli.engine.likelihood import label_log_likelihoods
from hyperformer_cli.engine.loss import batch_losses

# Each kind of layer is tested every time, those that only repeat one with the slow tests.
_REPEATED = (
    "arcee", "cohere", "ernie4_5", "exaone4", "gemma", "glm", "helium", "hunyuan_v1_dense", "ministral", "ministral3",
    "mixtral", "mt5", "nemotron", "olmo3", "olmoe", "qwen2", "qwen2_moe", "seed_oss", "starcoder2", "umt5",
)  # fmt: skip
ARCHITECTURES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in _REPEATED else [])
    for name in (*DECODER_ONLY, *ENCODER_DECODER)
]
TASK_IDS = [0, 2, 1, 0]
PROMPTS = token_ids(9, 3, 6, 1)
TARGETS = token_ids(2, 3, 1, 2, seed=3)

Adapter = Callable[[Tensor], Tensor]


def bottleneck(weights: AdapterWeights, output: Tensor) -> Tensor:
    """The paper's adapter, written out."""
    w = weights.named_tensors()
    inner = F.gelu(output @ w["down_weight"].T + w["down_bias"], approximate="tanh") @ w["up_weight"].T + w["up_bias"]
    centred = inner - inner.mean(-1, keepdim=True)
    normed = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    return normed * w["post_norm_scale"] + w["post_norm_shift"] + output


# The layers of transformers, written out again with an adapter behind each sub-layer. `attend` and `feed` are the two
# adapters of the layer; what a layer calls besides is its own.


def pre_norm(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    hidden = hidden + attend(layer.self_attn(hidden_states=layer.input_layernorm(hidden), **kwargs)[0])
    return hidden + feed(first(layer.mlp(layer.post_attention_layernorm(hidden))))


def post_norm(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    hidden = hidden + layer.post_attention_layernorm(attend(layer.self_attn(hidden_states=hidden, **kwargs)[0]))
    return hidden + layer.post_feedforward_layernorm(feed(layer.mlp(hidden)))


def sandwich(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    attended = attend(layer.self_attn(hidden_states=layer.input_layernorm(hidden), **kwargs)[0])
    hidden = hidden + layer.post_attention_layernorm(attended)
    return hidden + layer.post_feedforward_layernorm(feed(layer.mlp(layer.pre_feedforward_layernorm(hidden))))


def gemma4(
    layer: Any, hidden: Tensor, per_layer_input: Tensor, *positional: Any, attend: Adapter, feed: Adapter, **kwargs: Any
) -> Tensor:
    kwargs |= dict(zip(("shared_kv_states", "position_embeddings", "attention_mask"), positional, strict=False))
    hidden = sandwich(layer, hidden, attend, feed, **kwargs)
    gated = layer.act_fn(layer.per_layer_input_gate(hidden)) * per_layer_input
    return (hidden + layer.post_per_layer_input_norm(layer.per_layer_projection(gated))) * layer.layer_scalar


def glm4(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    attended = attend(layer.self_attn(hidden_states=layer.input_layernorm(hidden), **kwargs)[0])
    hidden = hidden + layer.post_self_attn_layernorm(attended)
    return hidden + layer.post_mlp_layernorm(feed(layer.mlp(layer.post_attention_layernorm(hidden))))


def apertus(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    hidden = hidden + attend(layer.self_attn(hidden_states=layer.attention_layernorm(hidden), **kwargs)[0])
    return hidden + feed(layer.mlp(layer.feedforward_layernorm(hidden)))


def parallel(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    normed = layer.input_layernorm(hidden)
    return hidden + attend(layer.self_attn(hidden_states=normed, **kwargs)[0]) + feed(layer.mlp(normed))


def granite(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    scale = 0.5
    hidden = hidden + scale * attend(layer.self_attn(hidden_states=layer.input_layernorm(hidden), **kwargs)[0])
    return hidden + scale * feed(layer.mlp(layer.post_attention_layernorm(hidden)))


def gpt2(layer: Any, hidden: Tensor, *positional: Any, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    kwargs |= dict(zip(("past_key_values", "attention_mask"), positional[:2], strict=False))
    kwargs.pop("encoder_hidden_states", None)
    hidden = hidden + attend(layer.attn(layer.ln_1(hidden), **kwargs)[0])
    return hidden + feed(layer.mlp(layer.ln_2(hidden)))


def gpt_neox(layer: Any, hidden: Tensor, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    attended = attend(layer.attention(layer.input_layernorm(hidden), **kwargs)[0])
    return hidden + attended + feed(layer.mlp(layer.post_attention_layernorm(hidden)))  # use_parallel_residual


def bart(layer: Any, hidden: Tensor, *positional: Any, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    """Encoder and decoder layers, whose norms come last."""
    kwargs |= dict(zip(("attention_mask", "encoder_hidden_states", "encoder_attention_mask"), positional, strict=False))
    encoded, mask = kwargs.pop("encoder_hidden_states", None), kwargs.pop("encoder_attention_mask", None)
    kwargs.pop("use_cache", None)
    hidden = layer.self_attn_layer_norm(hidden + attend(layer.self_attn(hidden, **kwargs)[0]))
    if encoded is not None:
        crossed = layer.encoder_attn(hidden, key_value_states=encoded, attention_mask=mask)[0]
        hidden = layer.encoder_attn_layer_norm(hidden + crossed)
    return layer.final_layer_norm(hidden + feed(layer.fc2(layer.activation_fn(layer.fc1(hidden)))))


def mbart(layer: Any, hidden: Tensor, *positional: Any, attend: Adapter, feed: Adapter, **kwargs: Any) -> Tensor:
    """The same with the norms first."""
    kwargs |= dict(zip(("attention_mask", "encoder_hidden_states", "encoder_attention_mask"), positional, strict=False))
    encoded, mask = kwargs.pop("encoder_hidden_states", None), kwargs.pop("encoder_attention_mask", None)
    kwargs.pop("use_cache", None)
    hidden = hidden + attend(layer.self_attn(layer.self_attn_layer_norm(hidden), **kwargs)[0])
    if encoded is not None:
        normed = layer.encoder_attn_layer_norm(hidden)
        hidden = hidden + layer.encoder_attn(normed, key_value_states=encoded, attention_mask=mask)[0]
    return hidden + feed(layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden)))))


def t5gemma(
    layer: Any,
    hidden: Tensor,
    *positional: Any,
    attend: Adapter,
    feed: Adapter,
    encoder_hidden_states: Tensor | None = None,
    encoder_attention_mask: Tensor | None = None,
    **kwargs: Any,
) -> Tensor:
    names = ("position_embeddings", "attention_mask", "position_ids", "past_key_values", "use_cache")
    kwargs |= dict(zip(names, positional[:5], strict=False))
    encoder_hidden_states = positional[5] if len(positional) > 5 else encoder_hidden_states
    encoder_attention_mask = positional[6] if len(positional) > 6 else encoder_attention_mask
    kwargs.pop("past_key_values", None)
    attended = layer.self_attn(hidden_states=layer.pre_self_attn_layernorm(hidden), past_key_values=None, **kwargs)[0]
    hidden = hidden + layer.post_self_attn_layernorm(attend(attended))
    if encoder_hidden_states is not None:
        crossed = layer.cross_attn(
            hidden_states=layer.pre_cross_attn_layernorm(hidden),
            encoder_hidden_states=encoder_hidden_states,
            attention_mask=encoder_attention_mask,
            past_key_values=None,
        )[0]
        hidden = hidden + layer.post_cross_attn_layernorm(crossed)
    return hidden + layer.post_feedforward_layernorm(feed(layer.mlp(layer.pre_feedforward_layernorm(hidden))))


def first(output: Tensor | tuple) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


WRITTEN_OUT: dict[str, Callable[..., Any]] = {
    "apertus": apertus, "bart": bart, "cohere": parallel, "cohere2": parallel, "exaone4": post_norm,
    "gemma2": sandwich, "gemma3_text": sandwich, "gemma4_text": gemma4, "glm4": glm4, "gpt2": gpt2,
    "gpt_neox": gpt_neox, "granite": granite,
    "mbart": mbart, "olmo2": post_norm, "olmo3": post_norm, "phi": parallel, "t5gemma": t5gemma,
}  # fmt: skip


def layers_of(backbone: PreTrainedModel) -> dict[str, Sequence[nn.Module]]:
    if backbone.config.is_encoder_decoder:
        return {"encoder": backbone.model.encoder.layers, "decoder": backbone.model.decoder.layers}
    inner = backbone.base_model
    return {"decoder": inner.h if hasattr(inner, "h") else inner.layers}


def write_out(backbone: PreTrainedModel, weights: dict[AdapterSite, AdapterWeights]) -> PreTrainedModel:
    """Replaces every layer's forward by the hand-written one with its adapters; no hooks."""
    forward = WRITTEN_OUT.get(backbone.config.model_type, pre_norm)
    for stack, layers in layers_of(backbone).items():
        for number, layer in enumerate(layers):
            attend, feed = (
                partial(bottleneck, weights[AdapterSite(stack, number, position)])
                for position in ("self_attention", "feed_forward")
            )
            layer.forward = MethodType(partial(_call, forward, attend, feed), layer)
    return backbone


def _call(forward: Callable, attend: Adapter, feed: Adapter, layer: Any, hidden_states: Tensor, *args, **kwargs) -> Any:
    return forward(layer, hidden_states, *args, attend=attend, feed=feed, **kwargs)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> AdaptedModel:
    return adapted(tiny_backbone(request.param))


# T5's numbers are compared with the reference's own in tests/adapters.
@pytest.mark.parametrize("model_type", [one for one in ARCHITECTURES if not one.values[0].endswith("t5")])
@torch.no_grad()
def test_logits_are_those_of_a_model_written_out(model_type: str) -> None:
    model = adapted(tiny_backbone(model_type))
    batch = model.family.layout.training_batch(PROMPTS[:3], TARGETS[:3], pad_id=0)
    inputs = model.family.layout.forward_inputs(model.backbone, batch)
    written = write_out(tiny_backbone(model_type), model.adapter_weights("rte"))
    expected = written(**inputs, use_cache=False).logits
    found = model(**inputs, task="rte", use_cache=False).logits
    mask = batch["labels"] != -100
    torch.testing.assert_close(found[mask], expected[mask], atol=2e-5, rtol=2e-5)
    plain = tiny_backbone(model_type)(**inputs, use_cache=False).logits
    assert (found - plain)[mask].abs().max() > 0.05  # the adapters matter


def slow_loss(model: AdaptedModel, prompt: list[int], target: list[int], task: str) -> float:
    """One row without padding, all its logits, one token after the other."""
    if model.family.layout.joins_target:
        logits = model(input_ids=torch.tensor([prompt + target]), task=task).logits[0, len(prompt) - 1 :]
    else:
        logits = model(input_ids=torch.tensor([prompt]), labels=torch.tensor([target]), task=task).logits[0]
    return -sum(float(logits[i].log_softmax(0)[token]) for i, token in enumerate(target))


@torch.no_grad()
def test_a_mixed_batch_has_the_losses_of_its_rows_alone(model: AdaptedModel) -> None:
    batch = model.family.layout.training_batch(PROMPTS, TARGETS, pad_id=5)
    losses = batch_losses(model, batch, TASK_IDS)
    rows = zip(PROMPTS, TARGETS, TASK_IDS, strict=True)
    slow = [slow_loss(model, prompt, target, TASKS[task]) for prompt, target, task in rows]
    torch.testing.assert_close(losses, torch.tensor(slow), atol=5e-5, rtol=2e-5)
    other = batch_losses(model, batch, [1, 1, 1, 1])
    assert (losses - other)[[0, 1, 3]].abs().min() > 1e-3 and abs(float(losses[2] - other[2])) < 5e-5


def start_of(model: AdaptedModel) -> int | None:
    """What the decoder begins with in training."""
    if model.family.layout.joins_target:
        return None
    return int(model.backbone.prepare_decoder_input_ids_from_labels(torch.tensor([[5, 2]]))[0, 0])


@torch.no_grad()
@pytest.mark.parametrize("limits", [[1, 4, 2, 7], [1, 1, 1, 1]])
def test_greedy_decoding_is_that_of_generate(model: AdaptedModel, limits: list[int]) -> None:
    """Two rows of four end early, so that the others are decoded without them."""
    layout, batch = model.family.layout, model.family.layout.generation_batch(PROMPTS, pad_id=5)
    plain = {"do_sample": False, "forced_eos_token_id": None, "pad_token_id": 5}
    start = 0 if layout.joins_target else 1  # without the decoder's start token

    def generated(limit: int, ends: list[int] | None) -> list[list[int]]:
        ids = model.generate(**batch, task_ids=TASK_IDS, max_new_tokens=limit, eos_token_id=ends, **plain)
        return layout.generated(ids, batch)[:, start:].tolist()

    ends = sorted({generated(2, None)[1][-1], 2})
    rules = greedy_rules(model, {**plain, "eos_token_id": ends})
    assert rules is not None
    with model.adapting(TASK_IDS):
        begun = layout.begin(model.backbone, batch, rules.start_id, goes_on=max(limits) > 1)
        found = decode_greedily(model, *begun, TASK_IDS, limits, rules)
    for row, limit in enumerate(limits):
        expected = generated(limit, ends)[row]
        width = max(len(expected), found.shape[1])
        assert [*found[row].tolist(), *[5] * width][:width] == [*expected, *[5] * width][:width]


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_generation_and_scores_are_those_of_each_row_alone(model: AdaptedModel, beams: int) -> None:
    layout, options = model.family.layout, {"max_new_tokens": 5, "do_sample": False, "num_beams": beams}
    batch = layout.generation_batch(PROMPTS, pad_id=5)
    read = layout.read(model, batch, TASK_IDS)
    targets = [[*target, 2] for target in TARGETS]  # mBART's decoder begins with what they end with
    labels = [targets[:2], targets[2:], [], targets[1:]]
    with model.adapting(TASK_IDS):
        begun = layout.begin(model.backbone, read, start_of(model))
    scores = label_log_likelihoods(model, *begun, TASK_IDS, labels, batch_size=3)
    ids = model.generate(**read, task_ids=TASK_IDS, **options)
    assert ids.tolist() == model.generate(**batch, task_ids=TASK_IDS, **options).tolist()
    assert scores == label_log_likelihoods(model, *begun, TASK_IDS, labels, batch_size=3)  # what was read is as it was
    for row, (prompt, task) in enumerate(zip(PROMPTS, TASK_IDS, strict=True)):
        alone = model.generate(**layout.generation_batch([prompt], 0), task=TASKS[task], **options)
        expected = layout.generated(alone, {"input_ids": torch.tensor([prompt])})[0].tolist()
        assert layout.generated(ids, batch)[row].tolist()[: len(expected)] == expected
        slow = [-slow_loss(model, prompt, target, TASKS[task]) for target in labels[row]]
        assert scores[row] == pytest.approx(slow, abs=5e-5, rel=2e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model_type", ["gemma3_text", "gpt2", "gpt_oss", "bart", "t5gemma"])
def test_gradients_reach_what_is_trained_and_nothing_else(model_type: str, method: str) -> None:
    model = adapted(tiny_backbone(model_type), method).train()
    batch = model.family.layout.training_batch(PROMPTS, TARGETS, pad_id=0)
    batch_losses(model, batch, TASK_IDS).sum().backward()
    batch_losses(model, batch, [1, 1, 1, 1]).sum().backward()
    trained = model.trained_parameters()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name in trained), name
        assert (parameter.grad is not None) == parameter.requires_grad, name
    norms = {name for name in trained if name.startswith("backbone.")}
    if method == "finetune":
        return
    expected = {
        f"backbone.{name}"
        for name, _ in model.backbone.named_parameters()
        if ("norm" in name or "ln_" in name)
        and "_norm." not in name.replace("layer_norm.", "").replace("layernorm_", "")
    }
    assert norms == expected


def test_gradients_reach_every_architecture(model: AdaptedModel) -> None:
    model.zero_grad()
    batch = model.family.layout.training_batch(PROMPTS, TARGETS, pad_id=0)
    (batch_losses(model, batch, TASK_IDS).sum() + batch_losses(model, batch, [1, 1, 1, 1]).sum()).backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in model.bank.parameters())
    assert any(name.startswith("backbone.") for name in model.trained_parameters())


@pytest.mark.parametrize(
    ("model_type", "widths"), [("llama", [32]), ("gpt2", [32]), ("bart", [32, 32]), ("t5gemma", [24, 32])]
)
def test_counts_are_a_closed_formula(model_type: str, widths: list[int]) -> None:
    backbone, tasks, r, z, hidden = tiny_backbone(model_type), 3, 4, 64, 128
    depths = [len(layers) for layers in layers_of(backbone).values()]
    sizes = [2 * width * (width // r) + width + width // r + 2 * width for width in widths]  # of one adapter
    stored = count_parameters(method="adapters", backbone=backbone.config, tasks=tasks, reduction_factor=r)
    norms = sum(p.numel() for name, p in backbone.named_parameters() if "norm" in name or "ln_" in name)
    shared = sum(2 * depth * 2 * width for depth, width in zip(depths, widths, strict=True))  # norms of all tasks
    adapters = sum(2 * depth * (size - 2 * width) for depth, size, width in zip(depths, sizes, widths, strict=True))
    assert stored.trained == norms + tasks * adapters + shared
    generated = count_parameters(method="hyperformer++", backbone=backbone.config, tasks=tasks, reduction_factor=r)
    projector = (3 * z + 1) * hidden + (hidden + 1) * z + 2 * z
    stacks = sum(depth * z + 2 * z + projector + (z + 1) * size for depth, size in zip(depths, sizes, strict=True))
    assert generated.trained == norms + tasks * z + stacks
    assert generated.backbone == sum(parameter.numel() for parameter in backbone.parameters())
