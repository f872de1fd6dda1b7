"""The recipes that repeat the reference: its order of tasks, its replicas, and the draws that follow from both."""

import json
from pathlib import Path

import numpy as np
import pytest

from hyperformer_cli.config.loading import load_recipe, shipped_recipes
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.data.sampling import task_distribution
from hyperformer_cli.training.setup import make_sampler

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "data_golden.json").read_text())
REFERENCE = sorted(name for name in shipped_recipes() if name.startswith("reference_"))
PAPERS = sorted(name for name in shipped_recipes() if load_recipe(name).model.name.startswith("google-t5/"))


@pytest.mark.parametrize("name", REFERENCE)
def test_tasks_are_in_the_order_of_the_golden_sizes(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.data.protocol == "reference"
    sizes = [task.sizes["train"] for task in recipe_tasks(recipe)]
    assert sizes == GOLDEN["glue_sizes"]
    np.testing.assert_allclose(task_distribution(sizes, 10), GOLDEN["distribution"]["10"], rtol=1e-14)
    assert make_sampler(recipe, sizes).batches_per_epoch == GOLDEN["num_batches_per_epoch_glue"]["bs32_rep4"]


@pytest.mark.parametrize("micro_batch_size", [1, 4, 8, 32])
@pytest.mark.parametrize("replicas", [1, 2])
def test_draws_are_the_golden_ones_however_a_batch_is_cut(replicas: int, micro_batch_size: int) -> None:
    golden = [case for case in GOLDEN["iter"] if case["num_replicas"] == replicas and case["epoch"] == 0]
    assert len(golden) == replicas
    changes = (f"training.replicas={replicas}", f"training.batch_size={4 * replicas}")
    recipe = load_recipe("reference_hyperpp", [*changes, f"training.micro_batch_size={micro_batch_size}"])
    sampler, offsets = make_sampler(recipe, golden[0]["sizes"]), np.cumsum([0, *golden[0]["sizes"]])
    for step in range(len(golden[0]["batches"])):
        drawn = sampler.batch(step)
        assert {task for task, _ in drawn} == {golden[0]["tasks"][step]}
        expected = [row for case in golden for row in case["batches"][step]]
        assert [int(offsets[task]) + row for task, row in drawn] == expected


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_recipes_have_its_four_replicas(name: str) -> None:
    training = load_recipe(name).training
    assert (training.replicas, training.batch_size, training.loss_reduction) == (4, 128, "sum")
