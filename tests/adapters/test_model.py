"""AdaptedModel: what is trained, tasks by name and id, adding, saving, checkpointing, the T5 family."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from tiny_model import SHAPE, TASKS, WITH_BANK, adapted, backbone, batch
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
from transformers.modeling_outputs import BaseModelOutput

from hyperformer_cli import AdaptedModel, AdapterConfig, AdapterSite
from hyperformer_cli.config.adapter import METHODS
from hyperformer_cli.errors import InputError


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


@pytest.mark.parametrize("beams", [1, 3])
def test_an_encoder_pass_can_be_shared(beams: int) -> None:
    model, inputs = adapted(), batch()
    labels, mask = inputs.pop("labels"), inputs["attention_mask"]
    hidden = model.encode(**inputs, task_ids=[0, 1, 2, 1]).last_hidden_state
    shared = model(encoder_outputs=(hidden,), attention_mask=mask, labels=labels, task_ids=[0, 1, 2, 1])
    torch.testing.assert_close(shared.logits, model(**inputs, labels=labels, task_ids=[0, 1, 2, 1]).logits)
    limits = {"task_ids": [0, 1, 2, 1], "max_new_tokens": 4, "num_beams": beams, "do_sample": False}
    generated = model.generate(encoder_outputs=BaseModelOutput(hidden), attention_mask=mask, **limits)
    assert generated.tolist() == model.generate(**inputs, **limits).tolist()


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


@pytest.mark.parametrize("method", METHODS)
def test_removing_a_task_leaves_the_others(method: str) -> None:
    model = adapted(method)
    before = {task: model(**batch(), task=task).logits for task in TASKS}
    model.remove_task("mrpc")
    assert model.tasks == ["cola", "rte"]
    for number, task in enumerate(("cola", "rte")):
        torch.testing.assert_close(model(**batch(), task=task).logits, before[task], atol=1e-6, rtol=0)
        torch.testing.assert_close(model(**batch(), task_ids=[number] * 4).logits, before[task], atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="no task 'mrpc'"):
        model.remove_task("mrpc")
    model.remove_task("cola")
    with pytest.raises(InputError, match="only task"):
        model.remove_task("rte")


def test_adapters_shared_by_tasks_are_those_of_a_single_task() -> None:
    model = adapted("adapters", shared_by_tasks=True)
    alone = AdaptedModel.attach(backbone(), model.config.with_tasks(["cola"])).eval()
    assert alone.trained_parameters().keys() == model.trained_parameters().keys()
    with torch.no_grad():
        for name, parameter in alone.trained_parameters().items():
            parameter.copy_(model.trained_parameters()[name])  # of the same shapes
    expected = alone(**batch(), task="cola").logits
    for chosen in ({"task": "rte"}, {"task_ids": [2, 0, 1, 1]}):
        torch.testing.assert_close(model(**batch(), **chosen).logits, expected, atol=1e-5, rtol=0)
    model(**batch(), task_ids=[2, 0, 1, 1]).loss.backward()
    assert all(parameter.grad is not None for parameter in model.trained_parameters().values())
    with model.frozen_adapters():
        torch.testing.assert_close(model(**batch(), task="mrpc").logits, expected, atol=1e-5, rtol=0)
    model.add_task("paws", init_from="cola")
    model.remove_task("mrpc")
    torch.testing.assert_close(model(**batch(), task="paws").logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"task": "mrcp"}, "did you mean 'mrpc'"),
        ({"task_ids": [0, 1, 3, 0]}, r"0 to 2.*\[3\]"),
        ({"task_ids": torch.tensor([0, -1, 0, 0])}, r"\[-1\]"),
        ({"task_ids": []}, "one per row"),
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
    with pytest.raises(InputError, match="task ids for a batch of 4"):
        model.generate(inputs=batch()["input_ids"], task_ids=[0, 1], max_new_tokens=1)
    for ids in ([True] * 4, [[0], [1], [2], [0]], torch.zeros(4, 1, dtype=torch.long)):
        with pytest.raises(InputError, match="must be integers"):
            model(**batch(), task_ids=ids)
    assert torch.equal(
        model(**batch(), task_ids=np.array([0, 2, 1, 1])).logits, model(**batch(), task_ids=[0, 2, 1, 1]).logits
    )
    with pytest.raises(RuntimeError, match="call the AdaptedModel"):
        model.backbone(**batch())


@pytest.mark.parametrize("frozen", [False, True])
def test_threads_have_adapters_of_their_own(frozen: bool) -> None:
    model, inputs = adapted(), batch()
    with torch.no_grad():
        expected = {task: model(**inputs, task=task).logits for task in TASKS}

    def differences(task: str) -> list[float]:
        found = []
        for _ in range(20):
            with torch.no_grad(), model.frozen_adapters() if frozen else nullcontext():
                found.append(float((model(**inputs, task=task).logits - expected[task]).abs().max()))
        return found

    with ThreadPoolExecutor(3) as pool:
        assert max(max(own) for own in pool.map(differences, TASKS * 2)) < 1e-5
    assert model.trained_parameters().keys() == adapted().trained_parameters().keys()


def _pickled(model: AdaptedModel) -> AdaptedModel:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, _pickled])
def test_a_copy_made_within_frozen_adapters_is_not_frozen(duplicate: Callable[[AdaptedModel], AdaptedModel]) -> None:
    model, inputs = adapted(), batch()
    with model.frozen_adapters():
        other = duplicate(model)
        before = other(**inputs, task="cola").logits
        assert torch.equal(before, model(**inputs, task="cola").logits)
        with torch.no_grad():
            for parameter in other.bank.parameters():
                parameter += 0.1
        assert not torch.equal(other(**inputs, task="cola").logits, before)
    other(**inputs, task="cola").loss.backward()
    assert all(parameter.grad is not None for parameter in other.trained_parameters().values())
    other.add_task("paws", init_from="mrpc")


def test_one_thread_trains_while_another_has_frozen_adapters() -> None:
    model, alone, inputs = adapted(), adapted(), batch()
    alone(**inputs, task="cola").loss.backward()

    def train() -> None:
        model(**inputs, task="cola").loss.backward()

    with model.frozen_adapters(), ThreadPoolExecutor(1) as pool:
        with torch.no_grad():
            before = model(**inputs, task="mrpc").logits
        pool.submit(train).result()
        with torch.no_grad():
            model.bank.task_embedding += 1
            assert torch.equal(model(**inputs, task="mrpc").logits, before)  # here they are still those of the block
    for name, parameter in model.trained_parameters().items():
        assert torch.equal(parameter.grad, alone.trained_parameters()[name].grad), name


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
    with model.frozen_adapters(), torch.autocast("cpu", torch.bfloat16), model.frozen_adapters():
        assert (
            model.adapter_weights("cola")[AdapterSite("encoder", 0, "feed_forward")].down_weight.dtype == torch.float32
        )


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
    module = backbone()
    with pytest.raises(InputError, match="leaves no bottleneck"):
        adapted(module=module, reduction_factor=32)
    assert all(parameter.requires_grad for parameter in module.parameters())  # it is as it was


def test_other_architectures_are_refused() -> None:
    from transformers import BertConfig, BertLMHeadModel

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    bert = BertLMHeadModel(BertConfig(**small, vocab_size=64, is_decoder=True))
    with pytest.raises(InputError, match="T5 family"):
        AdaptedModel.attach(bert, AdapterConfig(method="adapters", tasks=["cola"], reduction_factor=4))
