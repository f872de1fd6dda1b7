"""`export` and `convert` at the terminal: the folder on stdout, comparisons on stderr, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from hyperformer_cli.cli.main import app

EXPORTED = ["cola", "mrpc", "stsb", "mnli"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def trained(recipe_values: dict, write_recipe: Callable, tmp_path: Path) -> Path:
    assert run("train", write_recipe(recipe_values), "training.max_steps=2").exit_code == 0
    return tmp_path / "run"


def test_a_run_is_trained_exported_and_evaluated(trained: Path, tmp_path: Path) -> None:
    for format in ("static", "hub"):
        result = run("export", trained, "--format", format, "--to", tmp_path / format)
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[-1] == str(tmp_path / format)
        lines = result.stderr.splitlines()[1:]
        assert [line.split(":")[0] for line in lines] == EXPORTED
        assert all("differ by at most 0, the same greedy tokens" in line for line in lines)
        evaluated = json.loads(run("eval", tmp_path / format, *_data_of(trained), "--json").stdout)
        assert evaluated["results"] == json.loads((trained / "results.json").read_text())["results"]

    result = run("export", trained, "--format", "static", "--tasks", "mrpc, stsb", "--examples", "3", "--json")
    report = json.loads(result.stdout)
    assert report["folder"] == str(trained / "export" / "static")
    assert report["tasks"][0] == {
        "task": "mrpc", "difference": 0.0, "ids_identical": True, "inputs": "3 rows of its validation split",
    }  # fmt: skip
    file = trained / "export" / "static" / "adapters" / "mrpc.safetensors"
    assert report["files"]["adapters/mrpc.safetensors"] == file.stat().st_size
    assert "mnli" not in result.stderr


def _data_of(trained: Path) -> list[str]:
    """A hub folder does not know where the data lie here."""
    from hyperformer_cli.config.loading import load_recipe

    return ["--set", f"data.source={load_recipe(trained / 'recipe.yaml').data.source}"]


def test_a_failed_comparison_is_exit_code_1(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hyperformer_cli.export.static import static_export
    from hyperformer_cli.export.verification import TaskComparison

    def verify(source, folder: Path) -> list[TaskComparison]:
        return [TaskComparison(task, 0.5, False, "nothing") for task in source.tasks]

    monkeypatch.setattr(static_export, "verify", verify)
    result = run("export", trained, "--format", "static", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "differ by at most 0.5, OTHER greedy tokens" in result.stderr and "nothing was kept" in result.stderr
    assert not (trained / "export").exists()


def test_mistakes_are_exit_code_2(trained: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    torch.save({"w": torch.zeros(2)}, weights)
    recipe = trained / "recipe.yaml"
    for arguments, part in (
        (["export", "/nowhere", "--format", "static"], "not a run folder"),
        (["export", trained, "--format", "statc"], "'static'"),
        (["export", trained, "--format", "static", "--tasks", "mrcp"], "'mrpc'"),
        (["export", trained, "--format", "static", "--tasks", ","], "names separated by commas"),
        (["export", trained, "--format", "static", "--to", trained], "exists"),
        (["export", trained, "--format", "static", "--examples", "0"], "--examples"),
        (["export", trained], "--format"),
        (["export", trained, "--format", "hub", "--push-to", "a/b"], "no token"),
        (["convert", tmp_path / "nothing.bin", "--recipe", recipe, "--to", tmp_path / "new"], "no such file"),
        (["convert", weights, "--recipe", recipe], "exists"),
        (["convert", weights, "--recipe", recipe, "--to", tmp_path / "new"], "not a reference checkpoint"),
        (["convert", weights, "--recipe", "glue_hyperp"], "'glue_hyperpp'"),
        (["convert", weights], "--recipe"),
    ):
        before = set(tmp_path.rglob("*"))
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, ""), (arguments, result.output, result.exception)
        assert part in result.stderr and "Traceback" not in result.output and len(result.stderr.splitlines()) < 20
        assert set(tmp_path.rglob("*")) == before


def test_a_checkpoint_under_the_references_names_is_converted(trained: Path, tmp_path: Path) -> None:
    from hyperformer_cli import AdaptedModel

    model = AdaptedModel.from_pretrained(trained / "best")
    ours = dict(model.named_parameters())
    state = {theirs: ours[name][index].clone() for theirs, (name, index) in model.reference_names().locations().items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    arguments = ("convert", tmp_path / "pytorch_model.bin", "--recipe", trained / "recipe.yaml")
    result = run(*arguments, "--to", tmp_path / "converted")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(tmp_path / "converted") and "hyperformer eval" in result.stderr
    evaluated = json.loads(run("eval", tmp_path / "converted", "--json").stdout)
    assert evaluated["results"] == json.loads((trained / "results.json").read_text())["results"]
    as_json = run(*arguments, "--to", tmp_path / "again", "--json")
    assert json.loads(as_json.stdout) == {"run": str(tmp_path / "again"), "evaluated": False}
