"""`bundled` as the name of a model and of a data source; and what the package holds of it."""

import json
import tomllib
from pathlib import Path

import pytest

from hyperformer_cli.bundled import data_folder
from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.data.loading import load_tokenizer
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.tasks.registry import all_tasks, get_task
from hyperformer_cli.training.plan import plan

ROOT = Path(__file__).parents[2]
MINIATURE = {task.name: task for task in all_tasks() if task.is_bundled}


def test_the_wheel_holds_rows_and_weights_and_no_code_that_made_them():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["hyperformer_cli"], "force-include": {"recipes": "hyperformer_cli/recipes"}}
    assert data_folder() == ROOT / "hyperformer_cli" / "bundled"
    files = {path.relative_to(data_folder()).as_posix() for path in data_folder().rglob("*") if path.is_file()}
    weights = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    assert {file for file in files if "__pycache__" not in file} == {
        "__init__.py",
        *(f"{model}/{name}" for model in ("nano_t5", "nano_lm") for name in weights),
        *(f"{task}/{split}.parquet" for task in (*MINIATURE, "tickets") for split in ("train", "validation", "test")),
    }


def test_the_rows_are_small():
    assert sum(path.stat().st_size for path in data_folder().glob("*/*.parquet")) < 1_500_000


@pytest.mark.parametrize("task", MINIATURE)
def test_bundled_is_a_data_source(task):
    for split, size in MINIATURE[task].sizes.items():
        found = load_rows(get_task(task), split, "bundled")
        assert found.table.num_rows == size
        assert found.table.column_names == MINIATURE[task].columns
        assert found.origin == f"bundled {task} ({split})"
        assert found.fingerprint == load_rows(get_task(task), split, "bundled").fingerprint


@pytest.mark.parametrize(
    ("task", "source", "message"),
    [
        ("cola", "bundled", r"no bundled task 'cola'; did you mean 'mini_cola'\?"),
        ("mini_rte", "hub", "set data.source=bundled"),
    ],
)
def test_a_task_from_the_wrong_source_is_refused(task, source, message):
    with pytest.raises(InputError, match=message):
        load_rows(get_task(task), "train", source)


def test_an_unknown_split_and_a_folder_without_rows_are_refused():
    with pytest.raises(InputError, match=r"no bundled split 'tests'; did you mean 'test'\?"):
        load_rows(get_task("mini_rte"), "tests", "bundled")
    with pytest.raises(InputError, match=r"no bundled task 'nano_t5'; valid: mini_cb, mini_cola, .*mini_stsb"):
        load_rows(get_task("mini_rte").model_copy(update={"configuration": "nano_t5"}), "train", "bundled")


@pytest.mark.parametrize("recipe", ["quickstart", "quickstart_lm"])
def test_the_quickstart_resolves_without_network(recipe):
    found = plan(load_recipe(recipe))
    assert found["sizes"] == "counted"
    assert len(found["tasks"]) == 6
    assert [warning for report in found["data"].values() for warning in report["warnings"]] == []


@pytest.mark.parametrize("recipe", ["quickstart", "quickstart_lm"])
def test_the_bundled_models_bring_their_tokenizer(recipe):
    tokenizer = load_tokenizer(load_recipe(recipe))
    assert tokenizer.eos_token_id == 1


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "name"), [("quickstart", "bundled"), ("quickstart_lm", "bundled-lm")])
def test_a_run_folder_names_the_bundled_model_and_no_path(tmp_path, monkeypatch, recipe, name):
    from hyperformer_cli import AdaptedModel
    from hyperformer_cli.training.train_recipe import train_recipe

    monkeypatch.chdir(tmp_path)
    short = ("training.max_steps=2", "evaluation.every=2", "evaluation.max_examples=4", "training.warmup_steps=1")
    run = train_recipe(load_recipe(recipe, short))
    description = (run.best / "hyperformer.json").read_text()
    assert json.loads(description)["backbone"]["name"] == name
    for text in (description, run.path.joinpath("recipe.yaml").read_text()):
        assert str(data_folder()) not in text
    assert AdaptedModel.from_pretrained(run.best).tasks == load_recipe(recipe).tasks
