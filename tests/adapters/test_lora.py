"""LoRA on T5: where it sits, how it starts, what it computes, and what is refused."""

import math
from pathlib import Path

import pytest
import torch
from tiny_model import TASKS, WITH_BANK, adapted, backbone, batch
from torch import Tensor
from transformers import PreTrainedModel

from hyperformer_cli import AdaptedModel, AdapterConfig, AdapterSite, count_parameters
from hyperformer_cli.adapters import active
from hyperformer_cli.errors import InputError

LORA = {"form": "lora", "rank": 4, "alpha": 6}
SOME = [None, ["EncDecAttention.q", "wo"], "all-linear"]


def lora(method: str = "hyperformer++", module: PreTrainedModel | None = None, **options) -> AdaptedModel:
    """With A and B random, of a size at which rounding errors stay small."""
    config = AdapterConfig(method=method, tasks=TASKS, **{**LORA, **options})
    module = module or backbone()
    torch.manual_seed(4)
    model = AdaptedModel.attach(module, config).eval()
    with torch.no_grad():
        for name, parameter in model.trained_parameters().items():
            if ".lora_" in name:
                parameter.normal_(std=0.03 if name.endswith(".weight") else 0.2)
    return model


def slow_logits(task: str, model: AdaptedModel, inputs: dict[str, Tensor]) -> Tensor:
    """Of a bare backbone into whose weights (alpha / rank) B A was added, map by map."""
    plain = backbone()
    for site, weights in model.adapter_weights(task).items():
        layer = plain.get_submodule(f"{site.stack}.block.{site.layer}.layer")
        last = 1 if site.stack == "encoder" else 2
        number = {"SelfAttention": 0, "EncDecAttention": 1, "DenseReluDense": last}[site.position.split(".")[0]]
        weight = layer[number].get_submodule(site.position).weight
        weight.data += (model.config.alpha / model.config.rank) * (weights.lora_B @ weights.lora_A)
    with torch.inference_mode():
        return plain.eval()(**inputs).logits


@pytest.mark.parametrize("method", WITH_BANK)
@pytest.mark.parametrize("targets", SOME, ids=str)
def test_training_starts_at_the_backbone_itself(method: str, targets) -> None:
    torch.manual_seed(3)
    config = AdapterConfig(method=method, tasks=TASKS, target_modules=targets, **LORA)
    model = AdaptedModel.attach(backbone(), config).eval()
    with torch.no_grad():
        bare = backbone().eval()(**batch()).logits
        assert torch.equal(model(**batch(), task="mrpc").logits, bare)
        assert torch.equal(model(**batch(), task_ids=[0, 2, 1, 1]).logits, bare)
    model(**batch(), task_ids=[0, 2, 1, 1]).loss.backward()
    names = [name for name, p in model.trained_parameters().items() if "lora_B" in name and p.grad.abs().max() == 0]
    assert not names and all(name.startswith("bank.") for name in model.trained_parameters())


@pytest.mark.parametrize("method", WITH_BANK)
@pytest.mark.parametrize("targets", SOME, ids=str)
def test_it_computes_what_added_weights_compute(method: str, targets) -> None:
    model = lora(method, target_modules=targets)
    expected = {task: slow_logits(task, model, batch()) for task in TASKS}
    assert (expected["cola"] - expected["rte"]).abs().max() > 0.01
    with torch.inference_mode():
        for task in TASKS:
            torch.testing.assert_close(model(**batch(), task=task).logits, expected[task], atol=2e-5, rtol=0)
        mixed = model(**batch(), task_ids=[0, 2, 1, 1]).logits
    for row, task in enumerate(("cola", "rte", "mrpc", "mrpc")):
        torch.testing.assert_close(mixed[row], expected[task][row], atol=2e-5, rtol=0)


def test_one_adapter_can_be_shared_by_all_tasks() -> None:
    model = lora("adapters", shared_by_tasks=True)
    expected = slow_logits("cola", model, batch())
    with torch.inference_mode():
        for chosen in ({"task": "rte"}, {"task_ids": [2, 0, 1, 1]}):
            torch.testing.assert_close(model(**batch(), **chosen).logits, expected, atol=2e-5, rtol=0)
    assert model.config.needs_task_prefix


@pytest.mark.parametrize("beams", [1, 3])
def test_mixed_rows_are_generated_as_each_alone(beams: int) -> None:
    model = lora("adapters", target_modules="all-linear")
    inputs = {name: tensor for name, tensor in batch().items() if name != "labels"}
    limits = {"max_new_tokens": 4, "num_beams": beams, "do_sample": False}
    ids = model.generate(**inputs, task_ids=[0, 2, 1, 1], **limits)
    for row, task in enumerate(("cola", "rte", "mrpc", "mrpc")):
        alone = model.generate(**inputs, task=task, **limits)
        assert ids[row, : alone.shape[1]].tolist() == alone[row, : ids.shape[1]].tolist()


def test_nothing_is_generated_or_gathered_again_while_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    model, generated, gathered = lora(), [], []
    forward, select = model.bank.forward, torch.Tensor.index_select
    monkeypatch.setattr(model.bank, "forward", lambda tasks: generated.append(tasks) or forward(tasks))

    def index_select(tensor: Tensor, dim: int, index: Tensor) -> Tensor:
        gathered.append(tensor.shape)
        return select(tensor, dim, index)

    monkeypatch.setattr(active.torch.Tensor, "index_select", index_select)
    inputs = {name: tensor for name, tensor in batch().items() if name != "labels"}
    counts = []
    for tokens in (2, 6):
        gathered.clear()
        model.generate(**inputs, task_ids=[0, 1, 2, 0], max_new_tokens=tokens, min_new_tokens=tokens)
        counts.append(sum(shape[0] == len(TASKS) and len(shape) == 3 for shape in gathered))
    assert counts == [2 * len(model.sites)] * 2  # A and B of every site, once
    assert len(generated) == 2


def test_sites_are_linear_maps_and_heads_are_theirs() -> None:
    model = lora(target_modules=["q", "wi"])
    assert {(site.stack, site.position) for site in model.sites} == {
        ("encoder", "SelfAttention.q"), ("encoder", "DenseReluDense.wi"), ("decoder", "SelfAttention.q"),
        ("decoder", "EncDecAttention.q"), ("decoder", "DenseReluDense.wi"),
    }  # fmt: skip
    heads = {name.split(".")[-2] for name in model.trained_parameters() if "decoder.lora_A" in name}
    assert heads == {"SelfAttention_q", "EncDecAttention_q", "DenseReluDense_wi"}
    weights = model.adapter_weights("rte")[AdapterSite("decoder", 1, "DenseReluDense.wi")]
    assert {name: tuple(t.shape) for name, t in weights.named_tensors().items()} == {
        "lora_A": (4, 16), "lora_B": (32, 4),
    }  # fmt: skip
    only = lora(target_modules=["block.1.layer.0.SelfAttention.v"])
    assert {(site.stack, site.layer) for site in only.sites} == {("encoder", 1), ("decoder", 1)}


@pytest.mark.parametrize("method", WITH_BANK)
def test_matrices_start_as_in_peft(method: str) -> None:
    """A is uniform within 1 / sqrt(inputs), B zero; heads have weights of zero and such biases."""
    torch.manual_seed(0)
    config = AdapterConfig(method=method, tasks=TASKS, form="lora", rank=16, target_modules=["wo"])
    model = AdaptedModel.attach(backbone(d_ff=400), config)
    bound = 1 / math.sqrt(400)
    for name, parameter in model.trained_parameters().items():
        if "lora_B" in name or (".lora_A." in name and name.endswith(".weight")):
            assert (parameter == 0).all(), name
        elif "lora_A" in name:
            assert 0.95 * bound < parameter.abs().max() <= bound and abs(parameter.mean().item()) < 0.05 * bound, name
            assert abs(parameter.std().item() / (bound / math.sqrt(3)) - 1) < 0.05, name


def test_dropout_is_on_what_a_reads_and_in_training_only() -> None:
    inputs = {**batch(), "task": "cola"}
    model, without = lora(dropout=0.5), lora()
    assert torch.equal(model(**inputs).logits, without(**inputs).logits)
    torch.manual_seed(0)
    drawn = [model.train()(**inputs).logits for _ in range(2)]
    assert not torch.equal(*drawn)
    torch.testing.assert_close(without.train()(**inputs).logits, without.eval()(**inputs).logits)


@pytest.mark.parametrize("method", WITH_BANK)
def test_it_is_saved_copied_and_grown_like_any_form(method: str, tmp_path: Path) -> None:
    model = lora(method, target_modules=["v"], dropout=0.1)
    module = backbone()
    module.save_pretrained(tmp_path / "backbone")
    expected = {task: model(**batch(), task=task).logits for task in TASKS}
    model.save_pretrained(tmp_path / "trained")
    model.save_static(tmp_path / "static")
    for folder in ("trained", "static"):
        loaded = AdaptedModel.from_pretrained(tmp_path / folder, backbone()).eval()
        for task in TASKS:
            torch.testing.assert_close(loaded(**batch(), task=task).logits, expected[task], atol=1e-6, rtol=0)
    model.add_task("paws", init_from="mrpc")
    assert torch.equal(model(**batch(), task="paws").logits, expected["mrpc"])
    model.remove_task("cola")
    torch.testing.assert_close(model(**batch(), task="rte").logits, expected["rte"], atol=1e-6, rtol=0)


def test_gradient_checkpointing_recomputes_the_same() -> None:
    plain, checkpointed = lora().train(), lora().train()
    checkpointed.gradient_checkpointing_enable()
    for model in (plain, checkpointed):
        (model(**batch(), task="cola").loss + model(**batch(), task_ids=[1, 2, 1, 1]).loss).backward()
    for name, parameter in plain.trained_parameters().items():
        found = checkpointed.trained_parameters()[name].grad
        assert (found - parameter.grad).norm() <= 1e-4 * parameter.grad.norm(), name


def test_a_bfloat16_backbone_has_float32_adapters() -> None:
    half = lora(module=backbone().bfloat16())
    out, reference = half(**batch(), task="cola"), lora()(**batch(), task="cola")
    out.loss.backward()
    assert {parameter.dtype for parameter in half.trained_parameters().values()} == {torch.float32}
    assert (out.logits.float() - reference.logits).norm() / reference.logits.norm() < 0.05


def test_counts() -> None:
    h, inner, r, tasks, t, e = 512, 2048, 8, 4, 64, 128
    maps = 6 * 2 + 12 * 2  # q and v: 6 layers of self-attention, 6 with cross-attention beside it
    stored = count_parameters(method="adapters", form="lora", tasks=tasks)
    assert stored.trained == maps * tasks * 2 * r * h
    shared = count_parameters(method="adapters", form="lora", tasks=tasks, shared_by_tasks=True)
    assert stored.trained == tasks * shared.trained
    wo = count_parameters(method="adapters", form="lora", tasks=1, target_modules=["wo"], rank=r)
    assert wo.trained == 12 * r * (h + inner)
    hyper = count_parameters(method="hyperformer++", form="lora", tasks=tasks)
    heads = (2 + 4) * (t + 1) * 2 * r * h
    embeddings = tasks * t + 2 * 6 * t + (2 + 4) * t
    assert hyper.trained == heads + embeddings + 2 * ((3 * t + 1) * e + (e + 1) * t + 2 * t)


# Merging


@pytest.mark.parametrize("method", WITH_BANK)
@pytest.mark.parametrize("targets", SOME, ids=str)
def test_a_merged_model_is_a_plain_one_and_computes_the_same(method: str, targets) -> None:
    model = lora(method, target_modules=targets)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    merged = model.merged("mrpc").eval()
    assert type(merged) is type(model.backbone) and not any(m._forward_hooks for m in merged.modules())
    assert not any("bank" in name for name, _ in merged.named_modules())
    with torch.inference_mode():
        torch.testing.assert_close(merged(**batch()).logits, model(**batch(), task="mrpc").logits, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert model.merged("mrpc").shared.weight is not model.backbone.shared.weight


def test_merging_in_bfloat16_rounds_once() -> None:
    model = lora("adapters", backbone().bfloat16(), target_modules=["q"])
    merged = model.merged("cola")
    name = "encoder.block.0.layer.0.SelfAttention.q"
    weights = model.adapter_weights("cola")[AdapterSite("encoder", 0, "SelfAttention.q")]
    exact = model.backbone.get_submodule(name).weight.float() + 1.5 * weights.lora_B @ weights.lora_A
    assert merged.dtype == torch.bfloat16 and torch.equal(merged.get_submodule(name).weight, exact.bfloat16())


def test_what_cannot_be_merged_is_refused() -> None:
    with pytest.raises(InputError, match="'bottleneck' has adapters that cannot be merged"):
        adapted().merged("mrpc")
    with pytest.raises(InputError, match="did you mean 'mrpc'"):
        lora().merged("mrcp")
    quantised = lora("adapters", target_modules=["q"])
    module = quantised.backbone.encoder.block[0].layer[0].SelfAttention.q
    module.weight = torch.nn.Parameter((module.weight * 100).to(torch.int8), requires_grad=False)
    with pytest.raises(InputError, match="quantised backbone"):
        quantised.merged("cola")
    norms = AdaptedModel.attach(backbone(), AdapterConfig(method="adapters", tasks=TASKS, adapter_blocks=False)).eval()
    with torch.inference_mode():
        assert torch.equal(norms.merged("cola")(**batch()).logits, norms(**batch(), task="cola").logits)


# Refusals


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"target_modules": ["q", "vv"]}, "no linear map 'vv' in a t5 layer; did you mean 'v'"),
        ({"target_modules": ["q_proj"]}, "no linear map 'q_proj' in a t5 layer"),
        ({"target_modules": ["SelfAttention"]}, "'SelfAttention' is no linear map of a layer .*it is a T5Attention"),
        ({"target_modules": ["lm_head"]}, "'lm_head' is no linear map of a layer .*tied to the input embeddings"),
        ({"target_modules": ["shared"]}, "'shared' is no linear map of a layer .*it is a Embedding"),
        ({"rank": 17}, r"rank 17 is above the smaller width of encoder\.0\.SelfAttention\.q \(16 x 16\)"),
    ],
)
def test_options_that_do_not_fit_the_backbone_are_refused(options: dict, complaint: str) -> None:
    module = backbone()
    with pytest.raises(InputError, match=complaint):
        lora("adapters", module, **options)
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_a_map_tied_to_another_is_refused() -> None:
    module = backbone()
    layers = module.encoder.block
    layers[1].layer[0].SelfAttention.q.weight = layers[0].layer[0].SelfAttention.q.weight
    with pytest.raises(InputError, match=r"SelfAttention\.q is tied to another module"):
        lora("adapters", module)
    lora("adapters", module, target_modules=["v"])


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"rank": 0}, "greater than or equal to 1"),
        ({"alpha": 0}, "greater than 0"),
        ({"dropout": 1.0}, "less than 1"),
        ({"target_modules": []}, "at least 1"),
        ({"target_modules": ["q", "q"]}, "duplicate"),
        ({"target_modules": "q"}, "all-linear"),
        ({"reduction_factor": 4}, "adapter form 'lora' does not use reduction_factor"),
        ({"form": "bottleneck"}, "adapter form 'bottleneck' does not use rank"),
        ({"adapter_blocks": False}, "nothing is left to train"),
    ],
)
def test_options_have_bounds(values: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        AdapterConfig(**{"method": "adapters", "form": "lora", "tasks": TASKS, "rank": 8, **values})
    with pytest.raises(ValueError, match="'finetune' does not use"):
        AdapterConfig(method="finetune", tasks=TASKS, rank=8)


def test_defaults() -> None:
    config = AdapterConfig(method="hyperformer++", form="lora", tasks=TASKS)
    assert (config.rank, config.alpha, config.dropout, config.target_modules) == (8, 16, 0, None)
    assert config.train_layer_norms is False and config.reduction_factor is None
    assert AdapterConfig(**config.model_dump()) == config
