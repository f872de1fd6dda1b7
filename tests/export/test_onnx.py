"""ONNX graphs compute what the run computes, in programs that know nothing but onnxruntime and numpy."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import make_run, random_recipe

from hyperformer_cli.errors import InputError
from hyperformer_cli.export.export_run import export_run
from hyperformer_cli.export.onnx import onnx_export
from hyperformer_cli.export.onnx.onnx_model import OnnxModel
from hyperformer_cli.export.source import ExportSource, open_source
from hyperformer_cli.runs.opened import OpenedRun

TASKS = ["cola", "mrpc"]
# Where these are imported the program fails: what it needs is onnxruntime, numpy and, for text, tokenizers.
BLOCKED = (
    "import sys\nfor name in ('torch', 'transformers', 'onnx', 'hyperformer_cli'):\n    sys.modules[name] = None\n"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, data_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "run"
    adapter = {"method": "hyperformer++", "reduction_factor": 4}
    shape = {"num_layers": 1, "num_decoder_layers": 2}
    return make_run(random_recipe(tokenizer_folder, data_folder, adapter, **shape), folder)


@pytest.fixture(scope="module")
def source(run: Path) -> ExportSource:
    return open_source(OpenedRun(run))


@pytest.fixture(scope="module")
def folder(run: Path, source: ExportSource) -> Path:
    """The export, which `export_run` compared with the run."""
    report = export_run(run, "onnx")
    assert [task.task for task in report.tasks] == TASKS
    assert all(task.ids_identical and task.difference < 1e-4 for task in report.tasks)
    return report.folder


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (3, 40), (20, 5)])
def test_any_batch_and_lengths_give_the_runs_logits_and_ids(
    rows: int, length: int, folder: Path, source: ExportSource
) -> None:
    ids = torch.randint(3, 300, (rows, length), generator=torch.Generator().manual_seed(rows))
    mask = (torch.arange(length) < torch.arange(1, rows + 1).clamp(max=length).unsqueeze(1)).long()
    target = torch.randint(3, 300, (rows, length), generator=torch.Generator().manual_seed(rows + 1))
    for task in TASKS:
        expected = source.model(input_ids=ids, attention_mask=mask, decoder_input_ids=target, task=task).logits
        model = OnnxModel(folder, task)
        logits, _ = model.decode(target.numpy(), mask.numpy(), model.encode(ids.numpy(), mask.numpy()))
        assert np.abs(logits - expected.detach().numpy()).max() < 1e-4
        decoded = source.model.generate(input_ids=ids, attention_mask=mask, task=task, max_new_tokens=12)
        assert np.array_equal(model.generate(ids.numpy(), mask.numpy(), 12), decoded.numpy())


def test_a_target_in_pieces_gives_the_logits_of_the_whole(folder: Path) -> None:
    model, target = OnnxModel(folder, "mrpc"), np.arange(3, 21).reshape(2, 9)
    mask = np.ones((2, 4), np.int64)
    cross = model.encode(np.arange(30, 38).reshape(2, 4), mask)
    whole, _ = model.decode(target, mask, cross)
    past, pieces = None, []
    for start, end in ((0, 1), (1, 2), (2, 6), (6, 9)):
        logits, past = model.decode(target[:, start:end], mask, cross, past)
        pieces.append(logits)
    assert np.abs(np.concatenate(pieces, axis=1) - whole).max() < 1e-5


def test_decoding_pads_after_the_end(folder: Path, source: ExportSource, monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = OnnxModel(folder, "cola"), source.samples["cola"].batch
    inputs = [samples[name].numpy() for name in ("input_ids", "attention_mask")]
    free = model.generate(*inputs, 6)
    end = int(free[0, 2])  # as if what the first row says in second place were the end of a text
    monkeypatch.setitem(model.settings, "eos_token_ids", [end])
    expected = source.model.generate(
        **{name: samples[name] for name in ("input_ids", "attention_mask")},
        task="cola", max_new_tokens=6, eos_token_id=end,
    )  # fmt: skip
    found = model.generate(*inputs, 6)
    assert np.array_equal(found, expected.numpy())
    assert not found[0, 3:].any()


def test_the_readmes_code_runs_where_there_is_no_torch(folder: Path, source: ExportSource) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL))
    done = subprocess.run([sys.executable, "-c", BLOCKED + code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    inputs = source.run.tokenizer("sentence: A cat sat on the mat.", return_tensors="pt")
    limit = json.loads((folder / "onnx.json").read_text())["tasks"]["cola"]["max_new_tokens"]
    ids = source.model.generate(**inputs, task="cola", max_new_tokens=limit)
    assert done.stdout.strip() == str(source.run.tokenizer.batch_decode(ids, skip_special_tokens=True))


def test_adapters_are_constants_and_the_rest_is_shared(folder: Path) -> None:
    import onnx as library

    bottleneck = {}
    for task in TASKS:
        graph = library.load(folder / f"{task}.encoder.onnx", load_external_data=False).graph
        assert [value.name for value in graph.input] == ["input_ids", "attention_mask"]
        outside = {tensor.name: tensor.external_data[0].value for tensor in graph.initializer if tensor.external_data}
        assert set(outside.values()) == {"shared.weights"}
        assert not [name for name in outside if name.startswith("adapter.")]
        own = {tensor.name: tensor for tensor in graph.initializer}
        bottleneck[task] = library.numpy_helper.to_array(own["adapter.0.feed_forward.down_weight"])
    assert bottleneck["cola"].shape == (8, 32)
    assert not np.allclose(bottleneck["cola"], bottleneck["mrpc"])
    embedding = 320 * 32 * 4
    assert (folder / "shared.weights").stat().st_size < 2 * embedding + 250_000  # tied embeddings once, not four times


def test_files_name_no_path_of_this_machine(folder: Path) -> None:
    for file in folder.iterdir():
        content = file.read_bytes()
        for path in (Path(torch.__file__).parent, Path(onnx_export.__file__).parents[1]):
            assert str(path).encode() not in content, file.name


def test_the_description_says_what_a_program_needs(folder: Path) -> None:
    described = json.loads((folder / "onnx.json").read_text())
    assert described["decoder_start_token_id"] == 0
    assert described["eos_token_ids"] == [1]
    assert (described["layers"], described["heads"], described["head_size"]) == (2, 4, 8)
    assert described["graphs"]["encoder"]["outputs"]["cross.1.value"] == ["batch", 4, "source", 8]
    mrpc = described["tasks"]["mrpc"]
    assert mrpc["input"] == "sentence1: {sentence1} sentence2: {sentence2}"
    assert (mrpc["labels"], mrpc["encoder"]) == (["0", "1"], "mrpc.encoder.onnx")


def test_verification_finds_a_wrong_adapter(folder: Path, source: ExportSource, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "mrpc.encoder.onnx").write_bytes((folder / "cola.encoder.onnx").read_bytes())
    cola, mrpc = onnx_export.verify(source, tmp_path)
    assert cola.difference < 1e-4
    assert mrpc.difference > 1e-2


def test_missing_packages_are_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name))
    with pytest.raises(InputError, match=r"needs onnxscript: pip install 'hyperformer\[onnx\]'"):
        export_run(run, "onnx", tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_other_families_are_refused_by_name(tmp_path: Path, tokenizer_folder: Path, data_folder: Path) -> None:
    values = random_recipe(tokenizer_folder, data_folder, {"method": "finetune"})
    shape = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "d_model": 32}
    values["model"]["config"] = {"model_type": "bart", "vocab_size": 320, **shape}
    run = make_run(values, tmp_path / "run")
    with pytest.raises(InputError, match="--format onnx: knows the T5 family, not bart"):
        export_run(run, "onnx")
    assert not (run / "export").exists()


def test_other_forms_of_adapters_are_refused_by_name(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExportSource, "form", "lora")
    for format in ("onnx", "adapterhub"):
        with pytest.raises(InputError, match=f"--format {format}: knows bottleneck adapters, not lora"):
            export_run(run, format, tmp_path / format)


def test_an_unknown_task_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="no task 'rte' here; there are cola, mrpc"):
        OnnxModel(folder, "rte")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "shape"),
    [
        ({"method": "adapters", "reduction_factor": 5, "layer_norm_before": True}, {"num_layers": 3}),
        ({"method": "hyperformer", "reduction_factor": 4, "layer_norm_after": False, "non_linearity": "swish"}, {}),
        (
            {"method": "hyperformer-shared-layers", "reduction_factor": 4},
            {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        ),
        ({"method": "adapters", "adapter_blocks": False}, {"model_type": "mt5"}),
        ({"method": "hyperformer++", "reduction_factor": 4}, {"model_type": "umt5"}),
        ({"method": "finetune"}, {}),
    ],
    ids=["pre-norm", "no-norm", "gated", "norms-only-mt5", "umt5", "finetune"],
)
def test_every_method_and_kind_of_t5(
    adapter: dict, shape: dict, tmp_path: Path, tokenizer_folder: Path, data_folder: Path
) -> None:
    run = make_run(random_recipe(tokenizer_folder, data_folder, adapter, **shape), tmp_path / "run")
    report = export_run(run, "onnx")
    assert all(task.difference < 1e-4 and task.ids_identical for task in report.tasks)
