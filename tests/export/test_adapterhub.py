"""What an AdapterHub export holds, that it is checked, and that the library `adapters` computes with it what we do."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_run import make_run, random_recipe

from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.export.adapterhub import adapterhub_export
from hyperformer_cli.export.export_run import export_run
from hyperformer_cli.export.source import open_source
from hyperformer_cli.export.verification import outputs
from hyperformer_cli.runs.opened import OpenedRun

TASKS = ["cola", "mrpc"]
ADAPTER_FILES = ("adapter_config.json", "adapter.safetensors", "pytorch_adapter.bin")
PLAIN = {"method": "hyperformer++", "reduction_factor": 4}
GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
KINDS = {
    "tied": (PLAIN, {}),
    "deep-decoder": (PLAIN, {"num_layers": 1, "num_decoder_layers": 3}),
    "pre-norm-and-rest": ({"method": "adapters", "reduction_factor": 5, "layer_norm_before": True}, {}),
    "no-norm": (
        {"method": "hyperformer", "reduction_factor": 4, "layer_norm_after": False, "non_linearity": "swish"},
        {},
    ),
    "gated-untied": ({"method": "hyperformer-shared-layers", "reduction_factor": 4, "non_linearity": "gelu"}, GATED),
    "mt5": (PLAIN, {"model_type": "mt5", **GATED}),
}
# The fields that adapters 1.3.0 writes for a BnConfig.
FIELDS = """adapter_residual_before_ln cross_adapter dropout factorized_phm_W factorized_phm_rule
hypercomplex_nonlinearity init_weights init_weights_seed inv_adapter inv_adapter_reduction_factor is_parallel learn_phm
leave_out ln_after ln_before mh_adapter non_linearity original_ln_after original_ln_before output_adapter phm_bias
phm_c_init phm_dim phm_init_range phm_layer phm_rank reduction_factor residual_before_ln scaling shared_W_phm
shared_phm_rule stochastic_depth use_gating"""


@pytest.fixture
def made_run(tmp_path: Path, tokenizer_folder: Path, data_folder: Path):
    def make(adapter: dict[str, Any], **shape: Any) -> Path:
        return make_run(random_recipe(tokenizer_folder, data_folder, adapter, **shape), tmp_path / "run")

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_adapterhubs_arithmetic_gives_the_runs_logits_and_ids(kind: str, made_run) -> None:
    adapter, shape = KINDS[kind]
    report = export_run(made_run(adapter, **shape), "adapterhub")
    assert [task.task for task in report.tasks] == TASKS
    assert all(task.difference < 1e-5 and task.ids_identical for task in report.tasks)


def test_files_and_names_are_those_of_adapterhub(made_run) -> None:
    folder = export_run(made_run(PLAIN), "adapterhub").folder
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    adapters = {f"{task}/{name}" for task in TASKS for name in ADAPTER_FILES}
    backbone = {f"backbone/{name}" for name in ("config.json", "generation_config.json", "model.safetensors")}
    tokenizer = {f"backbone/{name}" for name in ("tokenizer.json", "tokenizer_config.json")}
    assert files == adapters | backbone | tokenizer | {"README.md", "manifest.json"}

    tensors = load_file(folder / "mrpc" / "adapter.safetensors")
    layers = [f"encoder.block.{i}.layer.{j}" for i in (0, 1) for j in (0, 1)]
    layers += [f"decoder.block.{i}.layer.{j}" for i in (0, 1) for j in (0, 2)]
    shapes = {
        "adapter_down.0.weight": (8, 32), "adapter_down.0.bias": (8,), "adapter_up.weight": (32, 8),
        "adapter_up.bias": (32,), "adapter_norm_after.weight": (32,), "adapter_norm_after.bias": (32,),
    }  # fmt: skip
    expected = {f"{layer}.adapters.mrpc.{name}": shape for layer in layers for name, shape in shapes.items()}
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == expected

    described = json.loads((folder / "mrpc" / "adapter_config.json").read_text())
    assert sorted(described["config"]) == sorted(FIELDS.split())
    assert (described["name"], described["version"], described["hidden_size"]) == ("mrpc", "adapters.1.3.0", 32)


def test_the_backbone_says_in_transformers_4s_terms_whether_its_output_is_tied_and_scaled(made_run) -> None:
    folder = export_run(made_run(PLAIN, **GATED), "adapterhub").folder / "backbone"
    config = json.loads((folder / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    assert "scale_decoder_outputs" not in config
    assert "lm_head.weight" in load_file(folder / "model.safetensors")


def test_the_tokenizer_is_of_a_class_that_transformers_4_has(made_run) -> None:
    folder = export_run(made_run(PLAIN), "adapterhub").folder / "backbone"
    assert json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_tasks_files_hold_nothing_of_other_tasks(made_run) -> None:
    folder = export_run(made_run({"method": "adapters", "reduction_factor": 4}), "adapterhub").folder
    tensors = torch.load(folder / "cola" / "pytorch_adapter.bin", weights_only=True)
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in tensors.values())


def test_verification_reads_the_files(made_run) -> None:
    path = made_run(PLAIN)
    folder, source = export_run(path, "adapterhub").folder, open_source(OpenedRun(path))
    file = folder / "mrpc" / "adapter.safetensors"
    tensors = load_file(file)
    tensors["decoder.block.1.layer.2.adapters.mrpc.adapter_up.bias"] += 0.1 * torch.randn(32)
    save_file(tensors, file, metadata={"format": "pt"})
    _, mrpc = adapterhub_export.verify(source, folder)
    assert (mrpc.task, mrpc.difference, mrpc.ids_identical) == ("mrpc", math.inf, False)  # the two files differ
    torch.save(tensors, file.with_name("pytorch_adapter.bin"))
    cola, mrpc = adapterhub_export.verify(source, folder)
    assert cola.difference < 1e-5 < 1e-3 < mrpc.difference < 1e3


def test_a_wrong_export_is_refused_and_leaves_nothing(made_run, monkeypatch: pytest.MonkeyPatch) -> None:
    right = adapterhub_export.adapter_tensors
    monkeypatch.setattr(adapterhub_export, "adapter_tensors", lambda model, task: {
        name: tensor.flip(0) if name.endswith("adapter_up.bias") else tensor
        for name, tensor in right(model, task).items()
    })  # fmt: skip
    path = made_run(PLAIN)
    with pytest.raises(HyperformerError, match="does not compute what the run computes"):
        export_run(path, "adapterhub")
    assert not (path / "export" / "adapterhub").exists()


@pytest.mark.parametrize(
    ("adapter", "shape", "message"),
    [
        ({"method": "finetune"}, {}, "no adapters to write .finetune trains the whole backbone"),
        ({"method": "adapters", "adapter_blocks": False}, {}, "no adapters to write .adapter_blocks is false"),
        (PLAIN, {"model_type": "umt5"}, "AdapterHub knows t5 and mt5, not umt5"),
    ],
    ids=["finetune", "norms-only", "umt5"],
)
def test_what_adapterhub_cannot_hold_is_refused(adapter: dict, shape: dict, message: str, made_run) -> None:
    with pytest.raises(InputError, match=message):
        export_run(made_run(adapter, **shape), "adapterhub")


@pytest.mark.parametrize("kind", KINDS)
def test_the_library_adapters_gives_the_runs_logits_and_ids(
    kind: str, made_run, adapterhub_python: Path, tmp_path: Path
) -> None:
    """Within 1e-5, or a millionth of the largest logit; the library runs in an environment of its own."""
    adapter, shape = KINDS[kind]
    path = made_run(adapter, **shape)
    folder, source = export_run(path, "adapterhub").folder, open_source(OpenedRun(path))
    tensors, texts = {}, {}
    for task, samples in source.samples.items():
        found = outputs(source.model, task, samples)
        named = {**samples.batch, "logits": found.logits, "ids": found.ids}
        tensors |= {f"{task}/{name}": tensor.contiguous() for name, tensor in named.items()}
        rows = source.run.tokenizer.batch_decode(samples.batch["input_ids"], skip_special_tokens=True)
        texts[task] = dict(zip(rows, source.run.tokenizer(rows)["input_ids"], strict=True))
    expected = tmp_path / "expected.safetensors"
    save_file(tensors, expected, metadata={"texts": json.dumps(texts)})
    script = Path(__file__).with_name("adapterhub_check.py")
    done = subprocess.run(
        [adapterhub_python, script, folder, expected], capture_output=True, text=True, env={"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == TASKS
    for task in report.values():
        assert task["difference"] < max(1e-5, 1e-6 * task["largest"])
        assert task["ids"]
        assert task["tokenizer"]
