"""`bundled` as the name of a model and of a data source, in the quickstart's recipe and in its run folder."""

import json

import pytest

from hyperformer_cli.bundled import model_folder
from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.data.loading import load_tokenizer
from hyperformer_cli.training.plan import plan


def test_the_quickstart_resolves_without_network():
    found = plan(load_recipe("quickstart"))
    assert found["sizes"] == "counted"
    assert len(found["tasks"]) == 6


def test_the_bundled_model_brings_its_tokenizer():
    tokenizer = load_tokenizer(load_recipe("quickstart"))
    assert tokenizer.eos_token_id == 1


@pytest.mark.slow
def test_a_run_folder_names_the_bundled_model_and_no_path(tmp_path, monkeypatch):
    from hyperformer_cli import AdaptedModel
    from hyperformer_cli.training.train_recipe import train_recipe

    monkeypatch.chdir(tmp_path)
    short = ("training.max_steps=2", "evaluation.every=2", "evaluation.max_examples=4", "training.warmup_steps=1")
    run = train_recipe(load_recipe("quickstart", short))
    description = (run.best / "hyperformer.json").read_text()
    assert json.loads(description)["backbone"]["name"] == "bundled"
    for text in (description, run.path.joinpath("recipe.yaml").read_text()):
        assert str(model_folder()) not in text
    assert AdaptedModel.from_pretrained(run.best).tasks == load_recipe("quickstart").tasks
