"""Checkpoints of the reference code, end to end: converted, exported, and run in plain torch to the reference's logits.

The numbers are those the reference computed (tests/fixtures).
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_run import documented_code, run_code, tensors_of
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from hyperformer_cli import AdaptedModel
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.convert.reference_checkpoint import convert_checkpoint
from hyperformer_cli.errors import InputError
from hyperformer_cli.evaluation.evaluate_run import evaluate_run
from hyperformer_cli.export.export_run import export_run
from hyperformer_cli.runs.opened import OpenedRun

FIXTURES = Path(__file__).parents[1] / "fixtures"
HYPER = {
    "reduction_factor": 4,
    "task_embedding_dim": 16,
    "projected_task_embedding_dim": 16,
    "projector_hidden_dim": 24,
}
TRAINTASK = {"task_embedding_dim": 24, "projector_hidden_dim": 20, "project_task_embedding": True}
ADAPTERS: dict[str, dict[str, Any]] = {
    "adapter": {"method": "adapters", "reduction_factor": 4},
    "adapter_preln": {"method": "adapters", "reduction_factor": 4, "layer_norm_before": True},
    "layernorm_only": {"method": "adapters", "adapter_blocks": False},
    "hyperformer_traintask": {"method": "hyperformer", **HYPER, **TRAINTASK},
    "unique_hyper_net_preln": {"method": "hyperformer-shared-layers", **HYPER, "layer_norm_before": True},
    "hyperformerpp": {"method": "hyperformer++", **HYPER},
    "hyperformerpp_unequal": {"method": "hyperformer++", **HYPER},
    "finetune": {"method": "finetune"},
}
TASKS = ["cola", "mrpc", "rte"]


class Reference:
    """A checkpoint as the reference saved it, the backbone it started from, and a recipe for it."""

    def __init__(self, name: str, tokenizer: Path, data: Path, folder: Path):
        self.tensors = load_file(FIXTURES / f"{name}.safetensors")
        self.state = {k.removeprefix("state."): v for k, v in self.tensors.items() if k.startswith("state.")}
        config = T5Config(**json.loads((FIXTURES / f"{name}.json").read_text())["t5_config"])
        self.backbone = T5ForConditionalGeneration(config)
        own = self.backbone.state_dict()
        self.backbone.load_state_dict({k: v for k, v in self.state.items() if k in own}, strict=False)
        self.backbone.save_pretrained(folder / "t5")
        self.values = {
            "name": "reference",
            "model": {"name": str(folder / "t5"), "tokenizer": str(tokenizer)},
            "adapter": ADAPTERS[name],
            "tasks": TASKS,
            "data": {"source": str(data)},
            "output_dir": str(folder / "run"),
        }

    @property
    def batch(self) -> dict[str, Tensor]:
        return {name: self.tensors[f"inputs.{name}"] for name in ("input_ids", "attention_mask", "labels")}


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For a vocabulary of 128: whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<pad>", "</s>", "<unk>", "0", "1", "sentence", "sentence1", "sentence2", ":", "the", "cat", "dog"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder = tmp_path_factory.mktemp("words")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def reference(request: pytest.FixtureRequest, tokenizer_folder: Path, data_folder: Path, tmp_path: Path) -> Reference:
    return Reference(getattr(request, "param", "hyperformerpp"), tokenizer_folder, data_folder, tmp_path)


@pytest.mark.parametrize("reference", ADAPTERS, indirect=True)
def test_a_converted_checkpoint_gives_the_references_logits(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(reference.state, tmp_path / "pytorch_model.bin")
    run = convert_checkpoint(tmp_path / "pytorch_model.bin", build_recipe(reference.values))
    assert sorted(p.name for p in run.path.iterdir()) == ["best", "environment.json", "last", "recipe.yaml"]
    model = AdaptedModel.from_pretrained(run.best).eval()
    for task in TASKS:
        with torch.inference_mode():
            logits = model(**reference.batch, task=task).logits
        torch.testing.assert_close(logits, reference.tensors[f"logits.{task}"], atol=2e-5, rtol=0)
    if reference.values["adapter"]["method"] == "finetune":
        return
    folder = export_run(run.path, "static", tasks=["mrpc"]).folder
    monkeypatch.chdir(folder)
    plain = run_code(documented_code(folder / "README.md"))
    with torch.inference_mode():
        logits = plain["model"](**reference.batch).logits
    torch.testing.assert_close(logits, reference.tensors["logits.mrpc"], atol=2e-5, rtol=0)


def test_a_static_export_holds_the_adapters_the_reference_generated(reference: Reference, tmp_path: Path) -> None:
    save_file(reference.state, tmp_path / "model.safetensors")
    run = convert_checkpoint(tmp_path / "model.safetensors", build_recipe(reference.values), tmp_path / "elsewhere")
    folder = export_run(run.path, "static").folder
    names = {"down": "down_{}", "up": "up_{}", "post_norm": "post_norm_{}"}
    kinds = {"down": ("weight", "bias"), "up": ("weight", "bias"), "post_norm": ("scale", "shift")}
    compared = 0
    for task in TASKS:
        for name, tensor in tensors_of(folder / "adapters" / f"{task}.safetensors").items():
            site, part = name.rsplit(".", 1)
            theirs = next(key for key in names if part.startswith(key))
            kind = ("weight", "bias")[kinds[theirs].index(part.rsplit("_", 1)[1])]
            expected = reference.tensors.get(f"gen.{task}.{site}.{theirs}.{kind}")
            if expected is not None:  # the fixtures hold a part of them
                torch.testing.assert_close(tensor, expected, atol=1e-6, rtol=1e-5)
                compared += 1
    assert compared >= 40


def test_a_converted_run_is_evaluated_like_any_other(reference: Reference, tmp_path: Path) -> None:
    save_file(reference.state, tmp_path / "model.safetensors")
    run = convert_checkpoint(tmp_path / "model.safetensors", build_recipe(reference.values))
    results = evaluate_run(OpenedRun(run.path), ["test"], ["cola", "mrpc"])["results"]
    assert [(r["task"], r["metric"]) for r in results] == [
        ("cola", "matthews_correlation"), ("mrpc", "accuracy"), ("mrpc", "f1"),
    ]  # fmt: skip
    environment = json.loads(run.environment_file.read_text())
    assert environment["converted_from"]["file"] == "model.safetensors"
    assert str(tmp_path) not in run.environment_file.read_text()


def test_the_references_names_of_tasks_become_ours(reference: Reference, tmp_path: Path) -> None:
    prefix = "task_embedding_controller.task_to_embeddings."
    state = {name.replace(f"{prefix}rte", f"{prefix}superglue-boolq"): value for name, value in reference.state.items()}
    save_file(state, tmp_path / "model.safetensors")
    values = {**reference.values, "tasks": ["cola", "mrpc", "boolq"]}
    run = convert_checkpoint(tmp_path / "model.safetensors", build_recipe(values))
    model = AdaptedModel.from_pretrained(run.best).eval()
    with torch.inference_mode():
        logits = model(**reference.batch, task="boolq").logits
    torch.testing.assert_close(logits, reference.tensors["logits.rte"], atol=2e-5, rtol=0)


def check_refused(file: Path, values: dict[str, Any], message: str) -> None:
    before = set(file.parent.rglob("*"))
    with pytest.raises(InputError, match=message):
        convert_checkpoint(file, build_recipe(values))
    assert set(file.parent.rglob("*")) == before


def test_another_backbone_is_refused(reference: Reference, tmp_path: Path) -> None:
    save_file(reference.state, tmp_path / "model.safetensors")
    with torch.no_grad():
        reference.backbone.decoder.block[1].layer[2].DenseReluDense.wo.weight[0, 0] += 1
    reference.backbone.save_pretrained(tmp_path / "t5")
    check_refused(
        tmp_path / "model.safetensors", reference.values,
        r"not trained on the recipe's backbone .*1 of \d+ frozen tensors differ, "
        r"decoder\.block\.1\.layer\.2\.DenseReluDense\.wo\.weight by 1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"adapter": ADAPTERS["adapter"]},
            r"not a reference checkpoint of this configuration: missing .*'adapters', 3",
        ),
        ({"adapter": {**ADAPTERS["hyperformerpp"], "reduction_factor": 8}}, "shape"),
        ({"tasks": ["cola", "mrpc"]}, r"left over .*task_to_embeddings\.rte"),
        ({"joint": False}, "joint=true"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(
    change: dict[str, Any], message: str, reference: Reference, tmp_path: Path
) -> None:
    save_file(reference.state, tmp_path / "model.safetensors")
    check_refused(tmp_path / "model.safetensors", {**reference.values, **change}, message)


class Payload:
    """Pickled, it is an order to make a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def test_code_in_a_pickle_is_not_run(reference: Reference, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    for zipped in (True, False):
        torch.save(
            {**reference.state, "payload": Payload(marker)},
            tmp_path / "pytorch_model.bin",
            _use_new_zipfile_serialization=zipped,
        )
        check_refused(
            tmp_path / "pytorch_model.bin", reference.values, r"pytorch_model\.bin: not read: .*could run code"
        )
        assert not marker.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("content", ["truncated", "empty", "text"])
def test_damaged_files_are_named(name: str, content: str, reference: Reference, tmp_path: Path) -> None:
    file = tmp_path / name
    (save_file if name.endswith("safetensors") else torch.save)(reference.state, file)
    whole = file.read_bytes()
    file.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"not weights\n" * 9}[content])
    check_refused(file, reference.values, rf"{name}: (damaged|not read)")


def test_other_mistakes_with_files(reference: Reference, tmp_path: Path) -> None:
    check_refused(tmp_path / "nothing.bin", reference.values, "no such file")
    check_refused(tmp_path / "t5", reference.values, r"a folder; .*pytorch_model\.bin")
    torch.save({"model": reference.state, "step": 3}, tmp_path / "pytorch_model.bin")
    check_refused(tmp_path / "pytorch_model.bin", reference.values, "not a state dict")
    torch.save({**reference.state, 0: torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    check_refused(tmp_path / "pytorch_model.bin", reference.values, "not a state dict")
    name = next(name for name in reference.state if name.endswith("layer_norm.weight"))
    torch.save({**reference.state, name: reference.state[name] * float("nan")}, tmp_path / "nan.bin")
    check_refused(tmp_path / "nan.bin", reference.values, "layer_norm.weight is not finite")
    (tmp_path / "run").mkdir()
    check_refused(tmp_path / "pytorch_model.bin", reference.values, "run exists")
