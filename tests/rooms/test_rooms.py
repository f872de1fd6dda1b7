"""The proof of the rooms: a new adapter form, and a new backbone family, are one file and one table entry each.

Each trains, resumes to the same weights, exports static, and predicts from its run as from its export.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from hyperformer_cli import AdaptedModel
from hyperformer_cli.backbones.families import FAMILIES
from hyperformer_cli.cli.main import app

HERE = Path(__file__).parent
ROW = json.dumps({"sentence": "the old cat sees"}) + "\n"

Result = dict[str, Any]


def forget_the_end(run: Path) -> None:
    """As if the run had been killed after its last checkpoint but one."""
    shutil.rmtree(run / "last")
    shutil.rmtree(run / "checkpoint-12")
    (run / "results.json").unlink()


def check(run: Path, commands: Callable[[list], list[Result]], name: str) -> None:
    """Trains, resumes, exports and predicts with a recipe beside the run; compares what must be equal."""
    recipe, export = run.with_suffix(".yaml"), run.parent / "export"
    predict = ["--task", "cola"]
    (trained,) = commands([(["train", str(recipe)], None)])
    assert trained["code"] == 0, trained
    whole = (run / "last" / "hyperformer.safetensors").read_bytes()
    forget_the_end(run)
    again, exported, first, second, evaluated, *wrong = commands(
        [
            (["train", str(recipe)], None),
            (["export", str(run), "--format", "static", "--to", str(export)], None),
            (["predict", str(run), *predict], ROW),
            (["predict", str(export), *predict], ROW),
            (["eval", str(export), "--json"], None),
            (["train", str(recipe), "adapter.form=nothing"], None),
        ]
    )
    for result in (again, exported, first, second, evaluated):
        assert result["code"] == 0, result
    assert "continuing after step 8" in again["err"]
    assert (run / "last" / "hyperformer.safetensors").read_bytes() == whole
    assert json.loads(first["out"])["task"] == "cola" and first["out"] == second["out"]
    assert {row["task"] for row in json.loads(evaluated["out"])["results"]} == {"cola", "mrpc", "stsb", "mnli"}
    assert wrong[0]["code"] == 2 and name in wrong[0]["err"]


@pytest.mark.parametrize("method", ["hyperformer++", pytest.param("adapters", marks=pytest.mark.slow)])
def test_an_adapter_form_is_one_file_and_one_entry(method: str, recipe_values: dict[str, Any], tmp_path: Path) -> None:
    adapter = {"method": method, "form": "learned_scale", "initial_scale": 0.5}
    run = tmp_path / "run"
    run.with_suffix(".yaml").write_text(yaml.safe_dump({**recipe_values, "adapter": adapter}))

    def commands(calls: list) -> list[Result]:
        """In a process of its own: `AdapterConfig` takes its fields from the table when it is first imported."""
        command = [sys.executable, str(HERE / "learned_scale.py")]
        done = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    check(run, commands, "learned_scale")
    tensors = load_file(run / "last" / "hyperformer.safetensors")
    assert {name for name in tensors if name.endswith(("scale", "scale.bias"))}
    exported = load_file(tmp_path / "export" / "adapters" / "cola.safetensors")
    assert set(exported) == {
        f"{stack}.{layer}.{position}.scale"
        for stack in ("encoder", "decoder")
        for layer in (0, 1)
        for position in ("self_attention", "feed_forward")
    }
    files = (tmp_path / "export" / "adapters").glob("*.safetensors")
    moved = max(float((scale - 0.5).abs().max()) for file in files for scale in load_file(file).values())
    assert moved > 0  # the scales started at 0.5, and were trained
    wrong = ["train", str(run.with_suffix(".yaml")), "adapter.reduction_factor=4", f"output_dir={tmp_path / 'other'}"]
    (refused,) = commands([(wrong, None)])
    assert refused["code"] == 2 and "form 'learned_scale' does not use reduction_factor" in refused["err"]


def test_a_backbone_family_is_one_file_and_one_entry(
    recipe_values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setitem(FAMILIES, "pegasus", "pegasus_family:PEGASUS")
    shape = {
        "model_type": "pegasus", "vocab_size": 320, "d_model": 32, "encoder_layers": 2, "decoder_layers": 3,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
        "max_position_embeddings": 64, "pad_token_id": 0, "eos_token_id": 1,
        "decoder_start_token_id": 0, "forced_eos_token_id": None,
    }  # fmt: skip
    recipe_values["model"]["config"] = shape
    run = tmp_path / "run"
    run.with_suffix(".yaml").write_text(yaml.safe_dump(recipe_values))

    def commands(calls: list) -> list[Result]:
        results = [CliRunner().invoke(app, arguments, input=stdin) for arguments, stdin in calls]
        return [{"code": r.exit_code, "out": r.stdout, "err": r.stderr, "failure": repr(r.exception)} for r in results]

    check(run, commands, "nothing")
    model = AdaptedModel.from_pretrained(run / "best")
    assert len(model.sites) == 2 * (2 + 3) and model.sites[0].output_width == 32
    norms = [name for name in model.trained_parameters() if "norm" in name and name.startswith("backbone.")]
    assert len(norms) == 2 * (2 * 2 + 3 * 3 + 2)  # scale and shift of every layer norm, the stacks' last ones included
    (planned,) = commands([(["train", str(run.with_suffix(".yaml")), "--dry-run", "--json"], None)])
    assert json.loads(planned["out"])["parameters"]["backbone"] > 0
