"""Model and data in a folder, from which the same run comes out."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner, Result

from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.cli.main import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_training_from_the_folder_is_training_from_the_source(
    recipe_values: dict, write_recipe: Callable, tmp_path: Path, tokenizer_folder: Path
) -> None:
    backbone = load_backbone(BackboneSource(None, init="random", config=recipe_values["model"]["config"], seed=1))
    backbone.save_pretrained(tmp_path / "backbone")
    recipe_values["model"] = {"name": str(tmp_path / "backbone"), "tokenizer": str(tokenizer_folder)}
    recipe_values["training"]["max_steps"] = 4
    recipe = write_recipe(recipe_values)
    elsewhere = f"data.source={recipe_values['data']['source']}"
    result = run("prefetch", recipe, "--to", tmp_path / "fetched", "--set", elsewhere, "--set", "seed=3")
    assert result.exit_code == 0, result.output
    assert elsewhere not in result.stdout and "seed=3" in result.stdout
    names = {str(path.relative_to(tmp_path / "fetched" / "data")) for path in (tmp_path / "fetched").rglob("*.parquet")}
    assert names == {
        *(f"{task}/{split}.parquet" for task in ("cola", "mrpc", "stsb") for split in ("train", "validation")),
        *(f"mnli/{split}.parquet" for split in ("train", "validation_matched", "validation_mismatched")),
    }
    assert run("train", recipe, "seed=3", f"output_dir={tmp_path / 'one'}").exit_code == 0
    command = shlex.split(result.stdout.splitlines()[-1])
    assert command[0] == "hyperformer"
    assert run(*command[1:], f"output_dir={tmp_path / 'other'}").exit_code == 0
    one, other = (json.loads((tmp_path / name / "results.json").read_text())["results"] for name in ("one", "other"))
    assert one == other
    again = run("prefetch", recipe, "--to", tmp_path / "fetched")
    assert again.exit_code == 2 and "exists" in again.stderr


def test_a_shape_without_weights(
    recipe_values: dict, write_recipe: Callable, tmp_path: Path, tokenizer_folder: Path
) -> None:
    load_backbone(BackboneSource(None, init="random", config=recipe_values["model"]["config"])).config.save_pretrained(
        tmp_path / "shape"
    )
    recipe_values["model"] = {"name": str(tmp_path / "shape"), "init": "random", "tokenizer": str(tokenizer_folder)}
    result = run("prefetch", write_recipe(recipe_values), "--to", tmp_path / "to: the # folder")
    assert result.exit_code == 0, result.output
    command = shlex.split(result.stdout.splitlines()[-1])
    planned = run(*command[1:], "--dry-run", "--json")
    expected = run(*command[1:3], "--dry-run", "--json")
    assert json.loads(planned.stdout) == json.loads(expected.stdout)
    assert f'model.name="{tmp_path}/to: the # folder/model"' in command


def test_what_cannot_be_fetched_leaves_nothing(tmp_path: Path) -> None:
    result = run("prefetch", "glue_hyperpp", "--to", tmp_path / "fetched")
    assert result.exit_code == 2 and "hub cannot be reached" in result.stderr
    assert list(tmp_path.iterdir()) == []
