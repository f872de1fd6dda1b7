"""AdaptedModel: what is trained, tasks by name and id, adding, saving, checkpointing, the T5 family."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    UMT5Config,
    UMT5ForConditionalGeneration,
)

from hyperformer_cli import AdaptedModel, AdapterConfig, AdapterSite, count_parameters
from hyperformer_cli.adapters.backbones import BackboneSource, load_backbone
from hyperformer_cli.config.adapter import METHODS
from hyperformer_cli.errors import InputError

TASKS = ["cola", "mrpc", "rte"]
SHAPE = {
    "vocab_size": 64, "d_model": 16, "d_ff": 32, "d_kv": 4, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0,
    "decoder_start_token_id": 0,
}  # fmt: skip
WITH_BANK = [method for method in METHODS if method != "finetune"]


def backbone(**changes) -> PreTrainedModel:
    torch.manual_seed(0)
    return T5ForConditionalGeneration(T5Config(**{**SHAPE, **changes}))


def adapted(method: str = "hyperformer++", module: PreTrainedModel | None = None, **options) -> AdaptedModel:
    """With every trained weight random, so that no adapter is near the identity."""
    if method != "finetune":
        options.setdefault("reduction_factor", 4)
    model = AdaptedModel.attach(module or backbone(), AdapterConfig(method=method, tasks=TASKS, **options)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


def batch(rows: int = 4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(3, 64, (rows, 7), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.randint(3, 64, (rows, 3), generator=generator)}


def family() -> dict[str, PreTrainedModel]:
    torch.manual_seed(0)
    gated = {**SHAPE, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    return {
        "t5": backbone(),
        "flan": T5ForConditionalGeneration(T5Config(**gated)),
        "mt5": MT5ForConditionalGeneration(MT5Config(**gated)),
        "umt5": UMT5ForConditionalGeneration(UMT5Config(**gated)),
        "byt5": T5ForConditionalGeneration(T5Config(**{**gated, "vocab_size": 384, "num_decoder_layers": 1})),
    }


@pytest.mark.parametrize("name", sorted(family()))
@pytest.mark.parametrize("method", ["adapters", "hyperformer++"])
def test_the_t5_family(name: str, method: str) -> None:
    module = family()[name]
    model = adapted(method, module)
    layers = len(module.encoder.block) + len(module.decoder.block)
    assert len(model.adapter_weights("cola")) == 2 * layers
    inputs = batch()
    out = model(**inputs, task_ids=[0, 2, 1, 1])
    for row, task in enumerate(("cola", "rte", "mrpc", "mrpc")):
        torch.testing.assert_close(model(**inputs, task=task).logits[row], out.logits[row], atol=2e-5, rtol=0)
    assert (model(**inputs, task="cola").logits - model(**inputs, task="rte").logits).abs().max() > 1e-3
    inputs.pop("labels")
    for beams in (1, 3):
        ids = model.generate(**inputs, task_ids=[0, 2, 1, 1], max_new_tokens=4, num_beams=beams, do_sample=False)
        alone = model.generate(**inputs, task="rte", max_new_tokens=4, num_beams=beams, do_sample=False)
        assert ids[1, : alone.shape[1]].tolist() == alone[1, : ids.shape[1]].tolist()


@pytest.mark.parametrize("method", METHODS)
def test_only_what_the_method_trains_gets_gradients(method: str) -> None:
    model = adapted(method)
    model(**batch(), task_ids=[0, 2, 1, 1]).loss.backward()
    for name, parameter in model.named_parameters():
        trained = method == "finetune" or name.startswith("bank.") or name.endswith("layer_norm.weight")
        assert parameter.requires_grad == trained, name
        assert (parameter.grad is not None) == trained, name


@pytest.mark.parametrize("method", WITH_BANK)
def test_initialisation_is_the_papers(method: str) -> None:
    """Linears N(0, 0.01^2) with bias 0, embeddings N(0, 1), plain layer norms 1 and 0."""
    torch.manual_seed(0)
    shape = {"d_model": 64, "num_layers": 3}
    model = AdaptedModel.attach(backbone(**shape), AdapterConfig(method=method, tasks=TASKS, reduction_factor=4))
    for name, parameter in model.bank.named_parameters():
        plain_norm = "norm" in name and (method == "adapters" or "site_embedding" in name)
        if plain_norm:
            assert (parameter == (1 if name.endswith(("scale", "norm.weight")) else 0)).all(), name
        elif "embedding" in name and "projector" not in name:
            assert 0.8 < parameter.std() < 1.2, name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name
        else:
            assert 0.009 < parameter.std() < 0.011, name


@pytest.mark.parametrize("method", METHODS)
def test_save_and_load(method: str, tmp_path: Path) -> None:
    source = BackboneSource(None, init="random", config={**SHAPE, "model_type": "t5"}, seed=3)
    torch.manual_seed(5)
    options = {} if method == "finetune" else {"reduction_factor": 4}
    config = AdapterConfig(method=method, tasks=TASKS, **options)
    model = AdaptedModel.attach(load_backbone(source), config, source).eval()
    model.save_pretrained(tmp_path)
    torch.manual_seed(99)
    loaded = AdaptedModel.from_pretrained(tmp_path).eval()
    assert loaded.config == config
    assert torch.equal(loaded(**batch(), task="rte").logits, model(**batch(), task="rte").logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hyperformer.json", "hyperformer.safetensors"]


def test_loading_refuses_another_backbone(tmp_path: Path) -> None:
    adapted().save_pretrained(tmp_path)
    AdaptedModel.from_pretrained(tmp_path, backbone())
    with pytest.raises(InputError, match="another configuration"):
        AdaptedModel.from_pretrained(tmp_path, backbone(d_ff=48))
    with pytest.raises(InputError, match="backbone="):
        AdaptedModel.from_pretrained(tmp_path)


def test_loading_refuses_a_random_backbone_that_comes_out_otherwise(tmp_path: Path) -> None:
    source = BackboneSource(None, init="random", config={**SHAPE, "model_type": "t5"}, seed=3)
    config = AdapterConfig(method="adapters", tasks=TASKS, reduction_factor=4)
    AdaptedModel.attach(load_backbone(source), config, source).save_pretrained(tmp_path)
    description = json.loads((tmp_path / "hyperformer.json").read_text())
    description["backbone"]["seed"] = 4
    (tmp_path / "hyperformer.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="frozen weights are not those"):
        AdaptedModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("damage", ["truncate", "remove", "version", "json"])
def test_loading_says_what_is_damaged(damage: str, tmp_path: Path) -> None:
    adapted().save_pretrained(tmp_path)
    weights, description = tmp_path / "hyperformer.safetensors", tmp_path / "hyperformer.json"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "remove":
        weights.unlink()
    elif damage == "version":
        description.write_text(description.read_text().replace('"format_version": 1', '"format_version": 9'))
    else:
        description.write_text("{")
    with pytest.raises(InputError, match=r"hyperformer\.(safetensors|json)"):
        AdaptedModel.from_pretrained(tmp_path, backbone())


@pytest.mark.parametrize("method", METHODS)
def test_an_added_task_starts_as_the_one_it_is_copied_from(method: str) -> None:
    model = adapted(method)
    before = {task: model(**batch(), task=task).logits for task in TASKS}
    model.add_task("paws", init_from="mrpc")
    assert model.tasks == [*TASKS, "paws"]
    assert torch.equal(model(**batch(), task="paws").logits, before["mrpc"])
    for task, logits in before.items():
        assert torch.equal(model(**batch(), task=task).logits, logits)
    if method != "finetune":
        model.add_task("imdb")
        assert not torch.equal(model(**batch(), task="imdb").logits, before["mrpc"])
    with pytest.raises(InputError, match="already"):
        model.add_task("paws")
    with pytest.raises(InputError, match="no task 'mrcp'"):
        model.add_task("boolq", init_from="mrcp")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"task": "mrcp"}, "did you mean 'mrpc'"),
        ({"task_ids": [0, 1, 3, 0]}, r"0 to 2.*\[3\]"),
        ({"task_ids": torch.tensor([0, -1, 0, 0])}, r"\[-1\]"),
        ({"task_ids": []}, "one a row"),
        ({}, "needs task or task_ids"),
        ({"task": "cola", "task_ids": [0, 0, 0, 0]}, "not both"),
    ],
)
def test_wrong_tasks_are_refused(arguments: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        adapted()(**batch(), **arguments)


def test_wrong_number_of_task_ids_and_a_bare_backbone_are_refused() -> None:
    model = adapted()
    for ids in ([0, 1, 2], [0, 2], [1], [1] * 7, torch.tensor(1)):
        with pytest.raises(InputError, match="task ids for a batch of 4"):
            model(**batch(), task_ids=ids)
    with pytest.raises(RuntimeError, match="call the AdaptedModel"):
        model.backbone(**batch())


@pytest.mark.parametrize("method", WITH_BANK)
def test_gradient_checkpointing_recomputes_with_the_right_adapters(method: str) -> None:
    """Two forward passes before one backward pass: each is recomputed with its own task's weights."""

    def gradients(model: AdaptedModel) -> dict[str, Tensor]:
        model.train()
        (model(**batch(), task="cola").loss + model(**batch(), task_ids=[1, 2, 1, 1]).loss).backward()
        return {name: parameter.grad for name, parameter in model.trained_parameters().items()}

    plain, checkpointed = adapted(method), adapted(method)
    checkpointed.gradient_checkpointing_enable()
    found, expected = gradients(checkpointed), gradients(plain)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-4)


def test_frozen_adapters_generate_once_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted()
    inputs = batch()
    expected = [model(**inputs, task=task).logits for task in TASKS]
    calls = []
    bank = model.bank
    monkeypatch.setattr(bank, "forward", lambda tasks, original=bank.forward: calls.append(tasks) or original(tasks))
    with model.frozen_adapters():
        for task, logits in zip(TASKS, expected, strict=True):
            torch.testing.assert_close(model(**inputs, task=task).logits, logits, atol=1e-6, rtol=0)
        model(**inputs, task_ids=[0, 1, 2, 0])
    assert [list(tasks) for tasks in calls] == [[0, 1, 2]]
    assert model.bank is bank


def test_adapters_are_generated_once_for_all_decoding_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted()
    calls = []
    original = model.bank.forward
    monkeypatch.setattr(model.bank, "forward", lambda tasks: calls.append(tasks) or original(tasks))
    inputs = {name: value for name, value in batch().items() if name != "labels"}
    model.generate(**inputs, task_ids=[0, 1, 2, 0], max_new_tokens=5, min_new_tokens=5, num_beams=2)
    assert len(calls) == 1


def test_a_copy_is_independent() -> None:
    model = adapted()
    expected = model(**batch(), task="cola").logits
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.bank.task_embedding.add_(1.0)
    assert torch.equal(model(**batch(), task="cola").logits, expected)
    assert not torch.equal(twin(**batch(), task="cola").logits, expected)


def test_a_bfloat16_backbone_trains_float32_weights() -> None:
    model = adapted(module=backbone().bfloat16())
    assert {parameter.dtype for parameter in model.trained_parameters().values()} == {torch.float32}
    out = model(**batch(), task="cola")
    out.loss.backward()
    reference = adapted()(**batch(), task="cola").logits
    assert (out.logits.float() - reference).norm() / reference.norm() < 0.05
    assert model.generate(input_ids=batch()["input_ids"], task="cola", max_new_tokens=2).shape[0] == 4


def test_a_backbone_takes_one_bank() -> None:
    model = adapted()
    for method in ("finetune", "adapters"):
        with pytest.raises(InputError, match="already has adapters"):
            adapted(method, model.backbone)


def test_adapter_weights_have_the_papers_shapes() -> None:
    weights = adapted().adapter_weights("mrpc")[AdapterSite("decoder", 1, "feed_forward")]
    assert {name: tuple(t.shape) for name, t in weights.named_tensors().items()} == {
        "down_weight": (4, 16), "down_bias": (4,), "up_weight": (16, 4), "up_bias": (16,),
        "post_norm_scale": (16,), "post_norm_shift": (16,),
    }  # fmt: skip
    assert adapted("finetune").adapter_weights("mrpc") == {}


def test_a_reduction_factor_must_leave_a_bottleneck() -> None:
    with pytest.raises(InputError, match="leaves no bottleneck"):
        adapted(reduction_factor=32)


def test_other_architectures_are_refused() -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    small = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 16, "vocab_size": 64}
    bart = BartForConditionalGeneration(
        BartConfig(
            **small, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16
        )
    )
    with pytest.raises(InputError, match="T5 family"):
        AdaptedModel.attach(bart, AdapterConfig(method="adapters", tasks=["cola"], reduction_factor=4))


# Table 1 and the parameter table: counted by the reference on its own models.
REFERENCE_COUNTS = {
    ("adapters", 1, 32): (446_848, 1_928_832),
    ("adapters", 8, 32): (3_288_064, 14_581_248),
    ("hyperformer", 8, 32): (28_074_560, 122_404_672),
    ("hyperformer-shared-layers", 8, 32): (4_730_816, 10_289_376),
    ("hyperformer++", 8, 32): (2_415_776, 5_211_056),
    ("adapters", 8, 2): (50_520_064, 227_056_128),
}


@pytest.mark.parametrize("key", REFERENCE_COUNTS, ids=str)
def test_counts_are_the_references(key: tuple) -> None:
    method, tasks, r = key
    for name, expected in zip(("t5-small", "google-t5/t5-base"), REFERENCE_COUNTS[key], strict=True):
        counts = count_parameters(method=method, backbone=name, tasks=tasks, reduction_factor=r)
        assert counts.trained == expected
        assert counts.backbone == {"t5-small": 60_506_624}.get(name, 222_903_552)


def test_the_cost_formula_of_section_4_1() -> None:
    """Adapters grow with T x L, HyperFormer++ with T + L."""
    h, d, layers, t, e = 512, 16, 6, 64, 128
    for tasks in (1, 8):
        adapters = count_parameters(method="adapters", tasks=tasks, train_layer_norms=False, layer_norm_after=False)
        assert adapters.trained == 4 * layers * tasks * (2 * h * d + h + d)
        hyper = count_parameters(method="hyperformer++", tasks=tasks, train_layer_norms=False)
        heads = (t + 1) * (2 * h * d + h + d + 2 * h)
        projector = (3 * t + 1) * e + (e + 1) * t + 2 * t
        assert hyper.trained == tasks * t + 2 * (layers + 2) * t + 2 * (heads + projector)
