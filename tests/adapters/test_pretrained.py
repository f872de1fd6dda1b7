"""The two files of a trained model: what comes back is what went in, and what is damaged is named."""

import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers
from tiny_model import SHAPE, TASKS, adapted, backbone, batch

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.config.adapter import METHODS
from hyperformer_cli.errors import InputError


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


@pytest.mark.parametrize("damage", ["truncate", "remove", "version", "json", "dtype"])
def test_loading_says_what_is_damaged(damage: str, tmp_path: Path) -> None:
    adapted().save_pretrained(tmp_path)
    weights, description = tmp_path / "hyperformer.safetensors", tmp_path / "hyperformer.json"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "remove":
        weights.unlink()
    elif damage == "version":
        description.write_text(description.read_text().replace('"format_version": 1', '"format_version": 9'))
    elif damage == "dtype":
        description.write_text(description.read_text().replace('"float32"', '"float99"'))
    else:
        description.write_text("{")
    with pytest.raises(InputError, match=r"hyperformer\.(safetensors|json)"):
        AdaptedModel.from_pretrained(tmp_path, backbone())


def test_what_generates_the_adapters_is_saved_within_frozen_adapters_too(tmp_path: Path) -> None:
    model = adapted()
    with model.frozen_adapters():
        model.save_pretrained(tmp_path / "saved")
        with pytest.raises(InputError, match="cannot be added"):
            model.add_task("paws")
    AdaptedModel.from_pretrained(tmp_path / "saved", backbone()).add_task("paws")


def test_a_backbone_that_is_given_must_be_the_one_trained_on_whatever_its_name_was(tmp_path: Path) -> None:
    source = BackboneSource("org/t5", revision="0123456789abcdef0123456789abcdef01234567")
    config = AdapterConfig(method="adapters", tasks=TASKS, reduction_factor=4)
    AdaptedModel.attach(backbone(), config, source).save_pretrained(tmp_path)
    AdaptedModel.from_pretrained(tmp_path, backbone())
    other = backbone()
    with torch.no_grad():
        other.encoder.block[0].layer[0].SelfAttention.q.weight += 1
    with pytest.raises(InputError, match="frozen weights are not those"):
        AdaptedModel.from_pretrained(tmp_path, other)


def test_a_backbone_of_the_hub_is_recorded_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--org--t5"
    backbone().save_pretrained(cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    for module in (
        huggingface_hub.constants,
        huggingface_hub.file_download.constants,
        transformers.utils.hub.constants,
    ):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path))
    source = BackboneSource("org/t5", revision="main")
    found = source.resolved(load_backbone(source))
    assert (found.revision, found.is_pinned) == (commit, True)
    folder = BackboneSource(str(cached / "snapshots" / commit), revision="main")
    assert folder.resolved(load_backbone(folder)) == folder


@pytest.mark.parametrize("name", ["", "../escaped", "a/b", ".hidden", " padded", "a\\b"])
def test_names_that_are_no_names_of_files_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a task's name"):
        adapted().add_task(name)
    model = adapted()
    before = {name: tensor.shape for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError):
        model.add_task(name, init_from="cola")
    assert model.tasks == TASKS and {name: tensor.shape for name, tensor in model.state_dict().items()} == before
