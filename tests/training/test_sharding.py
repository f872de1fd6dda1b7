"""Runs whose frozen backbone is divided among processes."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from training_runs import changed, largest_difference, start, weights

from hyperformer_cli.backbones.configuration import backbone_config
from hyperformer_cli.backbones.sharding import held_fraction
from hyperformer_cli.config.loading import build_recipe, load_recipe
from hyperformer_cli.errors import InputError
from hyperformer_cli.training.plan import plan

SHARDED = {"shard_backbone": True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": {"method": "finetune", "reduction_factor": None}}, "method 'finetune' freezes none"),
        ({"training": {**SHARDED, "compile": True}}, "training.compile and training.shard_backbone do not go together"),
    ],
)
def test_what_cannot_be_sharded_is_refused(changes: dict, message: str, recipe_values: dict) -> None:
    values = changed(changed(recipe_values, training=SHARDED), **changes)
    with pytest.raises(InputError, match=message):
        build_recipe({**values, "adapter": {k: v for k, v in values["adapter"].items() if v is not None}})


def test_what_a_process_holds_in_the_published_shape_of_flan_t5_xxl() -> None:
    """By hand: 11.135e9 parameters, of which 2 x 32128 x 4096 are embeddings and output layer."""
    decoder_layer = 8 * 4096 * 4096 + 3 * 4096 * 10240  # without norms
    expected = 1 / 8 + (2 * 32128 * 4096 + 2 * decoder_layer) / 11_135_332_352
    assert held_fraction(backbone_config("google/flan-t5-xxl", {}), 8) == pytest.approx(expected, abs=1e-5)


def test_a_dry_run_estimates_the_memory_of_one_process() -> None:
    recipe = load_recipe("glue_hyperpp_xxl")
    alone, divided = (plan(recipe, processes)["memory_gib_estimate"] for processes in (1, 8))
    whole = load_recipe("glue_hyperpp_xxl", ["training.shard_backbone=false"])
    assert plan(whole, 8)["memory_gib_estimate"] == alone
    frozen = 2 * 11.135e9 / 2**30
    assert alone > frozen and divided < alone - 0.8 * frozen


def test_the_dry_run_says_what_processes_exchange(recipe_values: dict) -> None:
    recipe = build_recipe(recipe_values)
    one, two = plan(recipe), plan(recipe, 2)
    assert one["all_reduced_bytes_per_step"] == 0
    assert two["all_reduced_bytes_per_step"] == 4 * two["parameters"]["trained"]


@pytest.mark.slow
def test_a_sharded_run_stops_continues_and_ends_as_one_of_a_single_process(
    recipe_values: dict, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    values = changed(recipe_values, training={"log_every": 1}, evaluation={"max_examples": 9, "batch_size": 4})
    values["model"]["config"] = {**values["model"]["config"], "dropout_rate": 0.0}
    recipe = write_recipe(values)
    one = start(recipe, tmp_path / "one")
    _, errors = one.communicate(timeout=300)
    assert one.returncode == 0, errors
    arguments = ("training.shard_backbone=true", "training.save_every=3", "--nproc-per-node", "2")
    cut = start(recipe, tmp_path / "two", *arguments)
    while "step 7/" not in cut.stderr.readline():  # an evaluation lies behind
        assert cut.poll() is None
    cut.send_signal(signal.SIGTERM)
    cut.communicate(timeout=300)
    assert cut.returncode == 143
    again = start(recipe, tmp_path / "two", *arguments)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0 and "continuing after step" in errors, errors
    assert largest_difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-4
    found = [json.loads((tmp_path / name / "results.json").read_text())["results"] for name in ("one", "two")]
    assert found[0] == found[1]
    said = [json.loads((tmp_path / name / "best" / "hyperformer.json").read_text()) for name in ("one", "two")]
    assert said[0] == said[1]  # the hash of the frozen weights among it
