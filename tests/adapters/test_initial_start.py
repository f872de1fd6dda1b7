"""`adapter.init: zero` starts at the backbone and can leave it; the heads' own rate."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.config.sections import TrainingSection
from hyperformer_cli.engine.optimizer import make_optimizer
from hyperformer_cli.errors import InputError

METHODS = ("adapters", "hyperformer", "hyperformer-shared-layers", "hyperformer++")
IDS, LABELS = torch.tensor([[5, 6, 7, 8], [9, 5, 3, 1]]), torch.tensor([[4, 3, 1], [2, 2, 1]])


def backbone() -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    shape = {"vocab_size": 20, "d_model": 32, "d_ff": 48, "d_kv": 8, "num_heads": 4, "num_layers": 2}
    return T5ForConditionalGeneration(T5Config(**shape, dropout_rate=0.0, decoder_start_token_id=0)).eval()


def attached(method: str, **options: object) -> AdaptedModel:
    return AdaptedModel.attach(
        backbone(), AdapterConfig(method=method, tasks=["a", "b"], reduction_factor=4, **options)
    )


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_training_starts_at_the_backbone_and_moves(method: str, norm: bool) -> None:
    with torch.no_grad():
        plain = backbone()(input_ids=IDS, labels=LABELS).logits
    papers = attached(method, layer_norm_after=norm)
    assert (papers(input_ids=IDS, labels=LABELS, task="b").logits - plain).abs().max() > 1e-3
    model = attached(method, layer_norm_after=norm, init="zero")
    found = model(input_ids=IDS, labels=LABELS, task="b")
    torch.testing.assert_close(found.logits, plain, atol=3e-6, rtol=0)
    optimizer, schedule = make_optimizer(
        model.trained_parameters().values(), TrainingSection(warmup_steps=0, max_steps=9, learning_rate=1e-2)
    )
    start = {name: p.detach().clone() for name, p in model.bank.named_parameters()}
    losses = []
    for _ in range(6):
        loss = model(input_ids=IDS, labels=LABELS, task="b").loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    still = [name for name, p in model.bank.named_parameters() if torch.equal(p, start[name])]
    assert not still  # nothing is stuck at its start


def test_a_kaiming_projector_keeps_the_size_of_what_it_reads() -> None:
    torch.manual_seed(0)
    for init, low, high in (("paper", 0.0, 0.05), ("kaiming", 0.5, 2.0)):
        projector = attached("hyperformer++", projector_init=init).bank.stacks["encoder"].site_embedding.projector
        size = projector(torch.randn(500, projector[0].in_features)).std().item()
        assert low < size < high
    for method in ("adapters", "finetune"):
        with pytest.raises(ValueError, match="does not use projector_init"):
            AdapterConfig(method=method, tasks=["a"], projector_init="kaiming")


def test_lora_has_a_start_of_its_own() -> None:
    with pytest.raises(ValueError, match="form 'lora' does not use init"):
        AdapterConfig(method="adapters", form="lora", tasks=["a"], init="zero")


def test_weights_of_heads_have_their_own_rate() -> None:
    model = attached("hyperformer++")
    heads = model.head_weights()
    assert len(heads) == 12  # two stacks; two weights, two biases, scale and shift
    settings = TrainingSection(learning_rate=1e-2, head_learning_rate_scale=0.25, warmup_steps=0, schedule="constant")
    optimizer, schedule = make_optimizer(model.trained_parameters().values(), settings, heads=heads)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(model.trained_parameters())
    for parameter in model.trained_parameters().values():
        assert rates[id(parameter)] == pytest.approx(2.5e-3 if any(parameter is head for head in heads) else 1e-2)
    start = [head.detach().clone() for head in heads]
    model(input_ids=IDS, labels=LABELS, task="b").loss.backward()
    optimizer.step()
    schedule.step()
    moved = max((head - own).abs().max().item() for head, own in zip(heads, start, strict=True))
    assert moved == pytest.approx(2.5e-3, rel=0.05)  # Adam's first step is the rate itself
    assert not attached("adapters").head_weights()


def test_beta2_is_the_recipes_and_its_epsilon_follows() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer, _ = make_optimizer([parameter], TrainingSection(beta2=0.9, warmup_steps=0))
    parameter.grad = torch.ones(3)
    optimizer.step()
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.9)
    assert optimizer.param_groups[0]["eps"] == pytest.approx(1e-8 / (1 - 0.9) ** 0.5)


def test_a_rate_of_heads_needs_heads() -> None:
    values = {"name": "r", "model": {"name": "bundled"}, "adapter": {"method": "adapters"}, "tasks": ["mini_rte"]}
    with pytest.raises(InputError, match="head_learning_rate_scale: method 'adapters' has no hypernetworks"):
        build_recipe({**values, "training": {"head_learning_rate_scale": 0.5}})
