"""Recipes: shipped ones, inheritance, overrides, and errors that say where and what."""

import time
from pathlib import Path

import pytest

from hyperformer_cli import load_recipe
from hyperformer_cli.config.loading import dump_recipe, shipped_recipes
from hyperformer_cli.errors import InputError

MINIMAL = """\
name: mine
model: {name: google-t5/t5-small}
adapter:
  method: hyperformer++
tasks: [cola, rte]
"""


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_load_and_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_recipe(recipe))
    assert load_recipe(copy).as_dict() == recipe.as_dict()


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_say_how_to_launch_them(name: str) -> None:
    text = shipped_recipes()[name].read_text()
    assert text.startswith("#")
    assert (
        f"hyperformer {'fewshot' if 'fewshot' in name else f'train recipes/{name}.yaml'}"
        in text.partition("\nname:")[0]
    )


def test_table_1_averages_are_means_of_eleven_figures() -> None:
    rows = [recipe for name in shipped_recipes() if (recipe := load_recipe(name)).paper and recipe.paper.expected]
    assert len(rows) == 13  # r chosen on validation is a recipe of its own
    for recipe in rows:
        figures = [v for task in recipe.tasks for v in recipe.paper.expected[task].values()]
        assert len(figures) == 11
        assert sum(figures) / 11 == pytest.approx(recipe.paper.expected["average"], abs=0.006)


def test_overrides_are_yaml_and_apply_in_order(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(MINIMAL)
    recipe = load_recipe(
        tmp_path / "r.yaml",
        ["training.max_steps=5", "training.max_steps=7", "training.learning_rate=1e-3", "tasks=[rte]",
         "training.max_grad_norm=null", "data.sampling.mixed_batches=true"],
    )  # fmt: skip
    assert (recipe.training.max_steps, recipe.training.learning_rate) == (7, 1e-3)
    assert recipe.tasks == recipe.adapter.tasks == ["rte"]
    assert recipe.training.max_grad_norm is None
    assert recipe.data.sampling.mixed_batches and recipe.data.sampling.temperature == 10


def test_a_recipe_states_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(MINIMAL + "training: {max_steps: 10, batch_size: 64}\n")
    (tmp_path / "r.yaml").write_text("extends: base.yaml\nname: other\ntraining: {max_steps: 20}\n")
    recipe = load_recipe(tmp_path / "r.yaml")
    assert (recipe.name, recipe.training.max_steps, recipe.training.batch_size) == ("other", 20, 64)
    assert recipe.output_dir == "outputs/other"
    assert recipe.where("training.batch_size").endswith("base.yaml:6")
    assert recipe.where("training.max_steps").endswith("r.yaml:3")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (MINIMAL + "training:\n  max_step: 5\n", ["r.yaml:7", "unknown key 'training.max_step'", "'max_steps'"]),
        (MINIMAL + "trainig: {}\n", ["r.yaml:6", "unknown key 'trainig'", "'training'"]),
        (
            MINIMAL + "data:\n  sampling:\n    temprature: 1\n",
            ["r.yaml:8", "data.sampling.temprature", "'temperature'"],
        ),
        (
            MINIMAL.replace("hyperformer++", "hyperformr"),
            ["r.yaml:4", "adapter.method", "'hyperformr'", "'hyperformer'"],
        ),
        (MINIMAL.replace("method: hyp", "metod: hyp"), ["r.yaml:4", "unknown key 'adapter.metod'", "'method'"]),
        (MINIMAL.replace("  method: hyperformer++", "  reduction_factor: 8"), ["adapter.method", "missing"]),
        (MINIMAL + "training: {max_steps: many}\n", ["r.yaml:6", "training.max_steps", "'many'", "integer"]),
        (MINIMAL + "training: {max_steps: -1}\n", ["r.yaml:6", "training.max_steps", "greater than or equal to 1"]),
        (MINIMAL + "training: {precision: float16}\n", ["r.yaml:6", "float16 is refused"]),
        (MINIMAL + "data: {protocol: papers}\n", ["r.yaml:6", "'papers'", "did you mean 'paper'"]),
        (MINIMAL + "joint: 1\n", ["r.yaml:6", "joint", "boolean"]),
        (MINIMAL + "seed: 1\nseed: 2\n", ["r.yaml:7", "duplicate key 'seed'"]),
        (MINIMAL + "seed: [1\n", ["r.yaml", "not valid YAML"]),
        (MINIMAL + "seed: !!python/object/apply:os.system ['true']\n", ["r.yaml:6", "not valid YAML"]),
        (MINIMAL.replace("tasks: [cola, rte]", "tasks: []"), ["r.yaml:5", "tasks"]),
        (MINIMAL.replace("tasks: [cola, rte]", "tasks: [cola, cola]"), ["duplicate"]),
        (MINIMAL.replace("  method: hyperformer++", "  method: finetune\n  reduction_factor: 4"), ["does not use"]),
        (MINIMAL.replace("adapter:\n", "adapter:\n  tasks: [cola]\n"), ["top of the recipe"]),
        ("- a list\n", ["a recipe is a mapping", "list"]),
        ("", ["'name' is missing"]),
        ("extends: nothing.yaml\n", ["r.yaml:1", "no file 'nothing.yaml'"]),
        ("extends: r.yaml\n", ["extends itself"]),
        (MINIMAL.replace("model: {name: google-t5/t5-small}", "model: {}"), ["model", "name is needed"]),
    ],
)
def test_errors_name_file_line_key_and_the_nearest_valid_name(text: str, parts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("training.max_step=1", "'max_steps'"),
        ("training.max_steps", "expected dotted.key=value"),
        ("=1", "expected dotted.key=value"),
        ("name.first=1", "'name' is a value"),
        ("training.max_steps=[1", "not valid YAML"),
    ],
)
def test_override_errors(override: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(MINIMAL)
    with pytest.raises(InputError, match="override") as caught:
        load_recipe(tmp_path / "r.yaml", [override])
    assert part in str(caught.value)


def _laughs(levels: int, each: int = 9) -> str:
    lines = ["a0: &a0 [lol]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * each)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (_laughs(40), "r.yaml:[0-9]+: .*too large"),
        (_laughs(6), "r.yaml:6: .*more than 100,000 values"),
        ("a: " + "[" * 100_000, "r.yaml:1: .*deeper than 50 levels"),
        ("a: " + "[" * 60 + "]" * 60, "r.yaml:1: .*deeper than 50 levels"),
        ("".join(f"{'  ' * i}a:\n" for i in range(60)), "deeper than 50 levels"),
        ("a: &a [*a]", "contains itself"),
        ("a: [" + "1, " * 400_000 + "]", "larger than 1,048,576 bytes"),
        ("a: [" + "1," * 200_000 + "]", "more than 100,000 values"),
    ],
    ids=range(8),
)
def test_documents_made_to_exhaust_the_parser(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text)
    start = time.perf_counter()
    with pytest.raises(InputError, match=complaint):
        load_recipe(tmp_path / "r.yaml")
    assert time.perf_counter() - start < 5
    if len(text) < 2**20:
        with pytest.raises(InputError):
            load_recipe("quickstart", [f"name={text}"])


def test_a_name_that_no_folder_can_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"output_dir: x+\.\.\. is too long for a folder's name \(300 characters\)"):
        load_recipe("quickstart", ["name=" + "x" * 300])
    load_recipe("quickstart", ["name=" + "x" * 300, "output_dir=elsewhere"])


def test_aliases_within_bounds_are_followed(tmp_path: Path) -> None:
    own = "tasks: &t [cola, rte]\n"
    text = MINIMAL.replace("tasks: [cola, rte]\n", own) + "sweep: {tasks: [*t, [cola]]}\n"
    assert own in text
    (tmp_path / "r.yaml").write_text(text)
    assert load_recipe(tmp_path / "r.yaml").sweep.grid == {"tasks": [["cola", "rte"], ["cola"]]}


def test_a_missing_recipe_names_the_nearest_shipped_one() -> None:
    with pytest.raises(InputError, match="did you mean 'glue_hyperpp'"):
        load_recipe("glue_hyperp")
