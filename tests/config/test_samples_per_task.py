"""`data.samples_per_task` as a mapping: which rows it keeps, and what is refused."""

from pathlib import Path

import pytest
import yaml

from hyperformer_cli.config.cells import part_recipes
from hyperformer_cli.config.loading import build_recipe, dump_recipe, load_recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.data.loading import select_rows
from hyperformer_cli.data.sizes import split_size
from hyperformer_cli.errors import InputError

VALUES = {
    "name": "r",
    "model": {"name": "bundled"},
    "adapter": {"method": "hyperformer++"},
    "tasks": ["mrpc", "cola", "rte"],
}


def recipe_with(samples: object, **others: object):
    return build_recipe({**VALUES, "data": {"samples_per_task": samples}, **others})


def test_each_task_keeps_its_number_and_the_others_all() -> None:
    recipe = recipe_with({"mrpc": 7, "cola": None})
    sizes = {task.name: split_size(recipe, task, "train") for task in recipe_tasks(recipe)}
    assert sizes["mrpc"] == 7
    everything = {task.name: split_size(recipe_with(None), task, "train") for task in recipe_tasks(recipe)}
    assert (sizes["cola"], sizes["rte"]) == (everything["cola"], everything["rte"])


def test_a_mapping_draws_the_rows_that_the_same_number_for_all_draws() -> None:
    mapped, plain = recipe_with({"mrpc": 7}), recipe_with(7)
    task = recipe_tasks(mapped)[0]
    for seed in (1, 2):
        rows = [select_rows(task, "train", recipe.data, 300, seed) for recipe in (mapped, plain)]
        assert list(rows[0]) == list(rows[1]) and len(rows[0]) == 7
    assert len(select_rows(task, "validation", mapped.data, 300, 1)) == len(
        select_rows(task, "validation", recipe_with(None).data, 300, 1)
    )


def test_it_is_written_and_read_again_and_overridden_by_task(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(dump_recipe(recipe_with({"mrpc": 7})))
    assert load_recipe(file).data.samples_per_task == {"mrpc": 7}
    changed = load_recipe(file, ["data.samples_per_task.mrpc=5", "data.samples_per_task.rte=9"])
    assert changed.data.samples_per_task == {"mrpc": 5, "rte": 9}
    assert load_recipe(file, ["data.samples_per_task=null"]).data.samples_per_task is None
    assert load_recipe(file, ["data.samples_per_task=3"]).data.samples_of("rte") == 3


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"mrcp": 7}, r"no task 'mrcp'; did you mean 'mrpc'\?"),
        ({"mrpc": 0}, "mrpc: found 0, should be greater than or equal to 1"),
        ({"mrpc": "x"}, "mrpc: found 'x', should be an integer"),
        ([7], "should be an integer"),
    ],
)
def test_what_cannot_be_meant_is_refused(samples: object, message: str, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump({**VALUES, "data": {"samples_per_task": samples}}))
    with pytest.raises(InputError, match=message):
        load_recipe(file)


def test_a_task_trained_alone_has_its_own_number() -> None:
    parts = part_recipes(recipe_with({"mrpc": 7}, joint=False))
    assert {name: part.data.samples_of(name) for name, part in parts.items()} == {"mrpc": 7, "cola": None, "rte": None}


def test_the_miniature_has_sizes_like_glues_and_the_quickstart_all_rows() -> None:
    glue = {"cola": 8551, "sst2": 67349, "mrpc": 3668, "stsb": 5749, "qnli": 104743, "rte": 2490}
    mini = load_recipe("mini/hyperpp").data.samples_per_task
    assert isinstance(mini, dict) and set(mini) == {f"mini_{task}" for task in glue}
    for task, size in glue.items():
        assert mini[f"mini_{task}"] == pytest.approx(100 * (size / 2490) ** 1.28, rel=0.03)
    assert load_recipe("quickstart").data.samples_per_task is None
    assert load_recipe("mini/low_resource").sweep.grid["data.samples_per_task"][0] == 100
