"""Manifests of weights and exports: a flipped bit is named wherever they are loaded; `hyperformer verify`."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from hyperformer_cli import AdaptedModel
from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.storage.manifest import check_files, read_manifest, write_manifest
from hyperformer_cli.training.train_recipe import train_recipe


def run(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, data_folder: Path) -> Path:
    """A trained run with two exports."""
    folder = tmp_path_factory.mktemp("made")
    shape = {"vocab_size": 320, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
    recipe = {
        "name": "tiny",
        "model": {"init": "random", "tokenizer": str(tokenizer_folder), "config": shape},
        "adapter": {"method": "hyperformer++", "reduction_factor": 4},
        "tasks": ["cola", "mrpc"],
        "data": {"source": str(data_folder), "max_source_length": 32},
        "training": {"max_steps": 2, "batch_size": 8, "micro_batch_size": 8},
        "evaluation": {"every": 1, "batch_size": 16, "max_examples": 8},
        "output_dir": str(folder / "run"),
    }
    train_recipe(build_recipe(recipe))
    for kind in ("static", "hub"):
        assert run("export", folder / "run", "--format", kind, "--examples", "2").exit_code == 0
    return folder / "run"


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "run")


def flip(file: Path, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[-1 - len(content) // 3] ^= 1 << bit
    file.write_bytes(content)


@pytest.mark.parametrize(
    "file",
    [
        "best/hyperformer.safetensors",
        "best/tokenizer.json",
        "best/tokenizer_config.json",
        "last/hyperformer.safetensors",
        "export/static/layer_norms.safetensors",
        "export/static/adapters/mrpc.safetensors",
        "export/static/adapters/mrpc.json",
        "export/static/tokenizer.json",
        "export/hub/hyperformer.safetensors",
        "export/hub/hyperformer.json",
    ],
)
def test_a_flipped_bit_is_named_when_the_folder_is_opened(file: str, copied: Path) -> None:
    folder = copied if not file.startswith("export") else copied / "/".join(file.split("/")[:2])
    weights = "last" if file.startswith("last") else "best"

    def load() -> None:
        opened = OpenedRun(folder, weights=weights)
        opened.model, opened.tokenizer  # noqa: B018

    load()
    flip(copied / file)
    with pytest.raises(InputError, match="damaged") as error:
        load()
    assert file.rsplit("/", 1)[-1] in str(error.value)
    if "hyperformer.json" not in file:  # in which a bit may also make other JSON
        assert str(copied / file) in str(error.value) and "restore it from a copy" in str(error.value)


def test_commands_that_open_a_run_name_a_flipped_bit(copied: Path) -> None:
    flip(copied / "best" / "hyperformer.safetensors")
    rows = copied / "rows.jsonl"
    rows.write_text('{"sentence1": "a cat", "sentence2": "a dog"}\n')
    for command in (["eval", copied], ["predict", copied, "--task", "mrpc", rows],
                    ["export", copied, "--format", "static", "--to", copied / "x"]):  # fmt: skip
        result = run(*command)
        assert result.exit_code == 2 and "best/hyperformer.safetensors: missing or damaged" in result.stderr
    results = copied / "results.json"
    results.write_text(results.read_text().replace('"seed": 42', '"seed": 43'))  # one bit, and still valid
    result = run("report", copied)
    assert result.exit_code == 2 and "results.json: missing or damaged" in result.stderr


def test_folders_without_a_manifest_are_read(copied: Path) -> None:
    for manifest in list(copied.rglob("manifest.json")):
        manifest.unlink()
    expected = OpenedRun(copied).model.adapter_tensors("mrpc")
    for folder in (copied, copied / "export" / "static", copied / "export" / "hub"):
        opened = OpenedRun(folder)
        assert len(opened.tokenizer) == 300
        assert all(torch.equal(expected[name], t) for name, t in opened.model.adapter_tensors("mrpc").items())


def test_what_people_edit_in_an_export_is_not_checked(copied: Path) -> None:
    for name in ("README.md", "recipe.yaml", "results.json"):
        with (copied / "export" / "hub" / name).open("a") as file:
            file.write("\n")
    opened = OpenedRun(copied / "export" / "hub")
    opened.model, opened.tokenizer  # noqa: B018


def test_saving_a_model_again_leaves_no_old_manifest(copied: Path) -> None:
    model = AdaptedModel.from_pretrained(copied / "best")
    with torch.no_grad():
        next(iter(model.trained_parameters().values())).add_(1)
    model.save_pretrained(copied / "best")
    AdaptedModel.from_pretrained(copied / "best")
    model.save_static(copied / "export" / "static")
    AdaptedModel.from_pretrained(copied / "export" / "static")


@pytest.mark.parametrize("content", ["{", "null", "[1]", '{"format_version": 1}', '{"format_version": 2, "sha256": {}}',
                                     '{"format_version": 1, "sha256": [1]}'])  # fmt: skip
def test_a_damaged_manifest(content: str, copied: Path) -> None:
    (copied / "best" / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"best/manifest\.json: (damaged|format version 2)"):
        OpenedRun(copied).model  # noqa: B018
    assert run("verify", copied).exit_code == 1


def test_a_manifest_holds_every_file(tmp_path: Path) -> None:
    (tmp_path / "in" / "side").mkdir(parents=True)
    (tmp_path / "in" / "a").write_text("a")
    (tmp_path / "in" / "side" / "b").write_text("b")
    (tmp_path / "in" / ".hidden").write_text("c")
    write_manifest(tmp_path / "in")
    assert list(read_manifest(tmp_path / "in")) == ["a", "side/b"]
    check_files(tmp_path / "in")
    (tmp_path / "in" / "side" / "b").unlink()
    check_files(tmp_path / "in", lambda name: name == "a")
    with pytest.raises(InputError, match="side/b: missing or damaged"):
        check_files(tmp_path / "in")


@pytest.mark.parametrize("size", [10**12, 10**19])
def test_sizes_that_no_machine_has(size: int, copied: Path) -> None:
    (copied / "best" / "manifest.json").unlink()
    file = copied / "best" / "hyperformer.json"
    described = json.loads(file.read_text())
    for section, key in (("adapter", "projector_hidden_dim"), ("backbone", "d_model")):
        changed = json.loads(json.dumps(described))
        (changed["adapter"] if section == "adapter" else changed["backbone"]["config"])[key] = size
        file.write_text(json.dumps(changed))
        said = r"hyperformer\.json is|another configuration|not a t5 configuration|1 validation error"
        with pytest.raises(InputError, match=said):
            AdaptedModel.from_pretrained(copied / "best")


def test_verify(copied: Path) -> None:
    result = run("verify", copied)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    for file in ("recipe.yaml", "metrics.jsonl", "results.json", "environment.json", "best/hyperformer.safetensors",
                 "last/tokenizer.json", "checkpoint-2/optimizer.safetensors", "export/static/adapters/mrpc.json",
                 "export/hub/README.md"):  # fmt: skip
        assert f"ok       {file}" in lines
    assert len(lines) == sum(path.is_file() and path.name not in (".lock",) for path in copied.rglob("*")) - sum(
        path.parent.name not in ("best", "last") for path in copied.rglob("manifest.json")
    )
    (copied / "fewshot").mkdir()
    (copied / "fewshot" / "x.json").write_text("{}")
    (copied / "notes.txt").write_text("mine")
    (copied / "checkpoint-2" / "manifest.json").unlink()
    result = run("verify", copied)
    assert result.exit_code == 0 and "unlisted notes.txt" in result.stdout
    assert "no manifest for 1 files in fewshot/" in result.stdout
    assert "files in checkpoint-2/" in result.stdout and "ok       checkpoint-2/" not in result.stdout
    flip(copied / "export" / "hub" / "README.md")
    shutil.rmtree(copied / "last")
    result = run("verify", copied, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1 and not found["is_whole"] and found["unlisted"] == ["notes.txt"]
    assert {file: state for file, state in found["files"].items() if state != "ok"} == {
        "export/hub/README.md": "damaged", "last/manifest.json": "missing",
    }  # fmt: skip
    assert run("verify", copied / "nowhere").exit_code == 2


def test_verify_covers_the_cells_of_a_run(recipe_values: dict, tmp_path: Path) -> None:
    training = {**recipe_values["training"], "max_steps": 1}
    folder = train_recipe(
        build_recipe({**recipe_values, "training": training, "tasks": ["cola", "mrpc"], "joint": False,
                      "output_dir": str(tmp_path / "run")})
    ).path  # fmt: skip
    assert run("verify", folder).exit_code == 0
    shutil.rmtree(folder / "cells" / "task=mrpc")
    result = run("verify", folder)
    assert result.exit_code == 1 and "missing  cells/task=mrpc/manifest.json" in result.stdout
    flip(folder / "cells" / "task=cola" / "best" / "hyperformer.safetensors")
    assert "damaged  cells/task=cola/best/hyperformer.safetensors" in run("verify", folder).stdout
