"""The shipped tasks as files, copies of them, and what a task in a file of one's own can do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from conftest import example_rows
from pyarrow import parquet
from typer.testing import CliRunner, Result

from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import flatten_recipe, load_recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks, target_tasks
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of
from hyperformer_cli.errors import InputError
from hyperformer_cli.schema.section import SPLITS
from hyperformer_cli.tasks import registry
from hyperformer_cli.tasks.registry import GROUPS, SHIPPED, all_tasks, get_task, task_file, task_names
from hyperformer_cli.tasks.task import Task


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_tasks_are_listed_by_group_and_then_by_name() -> None:
    tasks = all_tasks()
    assert [task.name for task in tasks] == task_names()
    places = [(GROUPS.index(task_file(name).parent.name), name) for name in task_names()]
    assert places == sorted(places) and len(places) == len(list(SHIPPED.rglob("*.yaml"))) == 39


@pytest.mark.parametrize("name", task_names())
def test_a_shipped_file_says_what_it_is_and_reads_back(name: str) -> None:
    """It is in the form that users write: nothing in it is lost or changed when the filled-in task is written out."""
    comment, first, *_ = task_file(name).read_text().splitlines()
    assert comment.startswith("# ") and first == f"name: {name}"
    task = get_task(name)
    assert Task.model_validate(task.model_dump()) == task
    assert {source_split_of(task, role) for role in SPLITS} <= set(task.sizes)
    assert task.similar_to is None or get_task(task.similar_to)


def test_a_wrong_shipped_file_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "news.yaml").write_text("name: news\ntemplate: '{text}'\nlabel: [a, b]\n")
    (tmp_path / "glue" / "other.yaml").write_text("name: another\ntemplate: '{text}'\n")
    monkeypatch.setattr(registry, "SHIPPED", tmp_path)
    with pytest.raises(InputError, match=r"glue/news\.yaml:3: unknown key 'label'; did you mean 'labels'\?"):
        get_task("news")
    with pytest.raises(InputError, match=r"other\.yaml: name is 'another'; the file must be named after its task"):
        get_task("other")


@pytest.fixture
def news(tmp_path: Path) -> Path:
    """A task on the hub; a local folder laid out as a data set's repository takes the place of the hub."""
    rows = {"train": 20, "dev": 9, "eval": 8}
    for split, count in rows.items():
        made = [{"text": row["sentence"], "topic": i % 2} for i, row in enumerate(example_rows("cola", count, split))]
        parquet.write_table(pa.Table.from_pylist(made), tmp_path / f"{split}-00000-of-00001.parquet")
    splits = "".join(f"  - split: {split}\n    path: {split}-*\n" for split in rows)
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: world\n  data_files:\n{splits}---\n")
    file = tmp_path / "glue" / "news.yaml"
    file.parent.mkdir()
    file.write_text(
        "# News by topic.\n"
        f"name: news\npath: {tmp_path}\nconfiguration: world\ntemplate: 'text: {{text}}'\n"
        "label_column: topic\nlabels: {'0': sport, '1': markets}\n"
        "source_splits: {train: train, validation: dev, test: eval}\nsizes: {train: 20, dev: 9, eval: 8}\n"
    )
    return file


def test_a_task_on_the_hub_is_one_file(
    news: Path, recipe_values: dict, write_recipe: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a path, and by name where it lies with the shipped ones."""
    values = {**recipe_values, "data": {**recipe_values["data"], "source": "hub"}, "tasks": ["glue/news.yaml"]}
    by_path = get_task(str(news))
    assert by_path.split_rule == "own" and by_path.label_names == ["sport", "markets"]
    assert json.loads(run("tasks", "show", news, "--json").stdout)["splits"]["test"]["from"] == "eval"
    recipe = load_recipe(write_recipe(values))
    assert recipe_tasks(recipe) == [by_path]
    trained = run("train", tmp_path / "recipe.yaml", "training.max_steps=2", "evaluation.every=2")
    assert trained.exit_code == 0, trained.output
    assert recipe_tasks(load_recipe(tmp_path / "run" / "recipe.yaml")) == [by_path]
    results = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    assert {score["split"]: score["examples"] for score in results} == {"validation": 9, "test": 8}

    monkeypatch.setattr(registry, "SHIPPED", tmp_path)
    assert task_names() == ["news"] and get_task("news") == by_path
    assert json.loads(run("tasks", "show", "news", "--json").stdout)["labels"] == ["sport", "markets"]
    assert recipe_tasks(load_recipe(write_recipe({**values, "tasks": ["news"]}))) == [by_path]
    with pytest.raises(InputError, match="'news' is the name of a shipped task"):
        recipe_tasks(recipe)


@pytest.mark.parametrize("named", ["default", "ours"])
def test_a_copy_has_the_rows_of_the_original(
    named: str, recipe_values: dict, write_recipe: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options, name = ((), "my_mini_mrpc") if named == "default" else (("own.yaml", "--name", "ours"), "ours")
    file = Path("own.yaml" if options else "my_mini_mrpc.yaml")
    copied = run("tasks", "copy", "mini_mrpc", *options)
    assert copied.stdout == f"{file}\n" and f"`tasks: [{file}]`" in copied.stderr
    original = task_file("mini_mrpc").read_text()
    assert file.read_text() == original.replace("name: mini_mrpc", f"name: {name}")
    refused = run("tasks", "copy", "mini_mrpc", *options)
    assert refused.exit_code == 2 and "exists; name another file" in refused.stderr

    values = {**recipe_values, "tasks": ["mini_mrpc", str(file)], "data": {"source": "bundled"}}
    recipe = load_recipe(write_recipe(values))
    first, copy = recipe_tasks(recipe)
    assert copy == first.model_copy(update={"name": name})
    for split in SPLITS:
        assert load_rows(copy, split, "bundled").table == load_rows(first, split, "bundled").table
    plan = json.loads(run("train", "recipe.yaml", "--dry-run", "--json").stdout)["tasks"]
    assert plan[name] == plan["mini_mrpc"]


def test_a_copy_trains_as_the_original(
    recipe_values: dict, data_folder: Path, write_recipe: Callable, tmp_path: Path
) -> None:
    """Under its own folder of `data.source`; the two runs differ in the task's name alone."""
    copied = run("tasks", "copy", "mrpc", tmp_path)
    assert copied.stdout == f"{tmp_path / 'my_mrpc.yaml'}\n"
    for name in ("mrpc", "my_mrpc"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(data_folder / "mrpc")
    scores = []
    for name, entry in (("first", "mrpc"), ("second", "my_mrpc.yaml")):
        values = {**recipe_values, "tasks": [entry], "output_dir": str(tmp_path / name)}
        values["data"] = {**values["data"], "source": str(tmp_path / "data")}
        trained = run("train", write_recipe(values), "training.max_steps=3", "evaluation.every=3")
        assert trained.exit_code == 0, trained.output
        results = json.loads((tmp_path / name / "results.json").read_text())["results"]
        scores.append([{key: value for key, value in score.items() if key != "task"} for score in results])
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("mrcp",), "did you mean 'mrpc'"),
        (("mrpc", "--name", "cola"), "'cola' is the name of a shipped task"),
        (("mrpc", "--name", "a/b"), "name: found 'a/b'"),
        (("mrpc", "task.txt"), ".yaml or .yml"),
    ],
)
def test_copies_that_are_refused(
    arguments: tuple[str, ...], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("tasks", "copy", *arguments)
    assert result.exit_code == 2 and complaint in result.stderr and not list(tmp_path.iterdir())


def write_task(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"name": "topic", "template": "{text}", **changes}, sort_keys=False))
    return path


def test_a_path_starts_from_the_recipes_folder_else_from_the_current_one(
    recipe_values: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "base.yaml").write_text(yaml.safe_dump({**recipe_values, "tasks": ["cola", "topic.yaml"]}))
    recipe = tmp_path / "r.yaml"
    recipe.write_text("extends: recipes/base.yaml\nfewshot: {target_tasks: [target.yml, paws]}\n")
    write_task(tmp_path / "elsewhere" / "topic.yaml", template="elsewhere {text}")
    monkeypatch.chdir(tmp_path / "elsewhere")
    write_task(tmp_path / "target.yml", name="target")
    assert recipe_tasks(load_recipe(recipe))[1].template == "elsewhere {text}"
    write_task(tmp_path / "recipes" / "topic.yaml")
    loaded = load_recipe(recipe)
    assert [task.name for task in target_tasks(loaded)] == ["target", "paws"]
    assert recipe_tasks(loaded)[1].template == "{text}" and loaded.task_names == ["cola", "topic"]
    assert loaded.where("tasks.1.template") == f"{tmp_path / 'recipes' / 'topic.yaml'}:2"
    (tmp_path / "alone.yaml").write_text(flatten_recipe(recipe))
    for file in (tmp_path / "recipes" / "topic.yaml", tmp_path / "target.yml"):
        file.unlink()
    assert load_recipe(tmp_path / "alone.yaml").as_dict() == loaded.as_dict()
    changed = load_recipe(recipe, ["tasks=[topic.yaml]", "fewshot=null"])
    assert recipe_tasks(changed)[0].template == "elsewhere {text}"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"templte": "x"}, r"topic\.yaml:3: unknown key 'tasks\.1\.templte'; did you mean 'template'\?"),
        ({"template": "none"}, r"topic\.yaml:2: tasks\.1\.template: name columns in braces"),
        ({"labels": ["a", "b"], "target": "{x}"}, r"topic\.yaml: tasks\.1: give labels or target, not both"),
        ({"name": "cola"}, r"topic\.yaml: tasks: 'cola' is the name of a shipped task"),
        ({"metrics": ["acuracy"]}, r"topic\.yaml:4: tasks\.1\.metrics\.0: unknown metric 'acuracy'; .*'accuracy'"),
        ({"range": [5, 0]}, r"topic\.yaml:3: tasks\.1\.range: \[5\.0, 0\.0\]: give two numbers, the lower one first"),
        ({"range": [0, 0.25]}, "to one decimal"),
        ({"range": [0, 1e6]}, "too many numbers to list"),
        ({"range": [0, 5], "target": "{x}"}, "this one predicts text"),
        ({"label_names": ["a"], "labels": ["0", "1"]}, "1 names for 2 labels"),
        ({"sizes": {"train": 9, "dev": 3}}, "sizes: 'dev' is none of train, validation, test; say in source_splits"),
        ({"source_splits": {"train": "train", "test": "eval"}}, "name the split of every role"),
        (
            {"source_splits": {"train": "train", "validation": "dev", "test": "dev"}, "sizes": {"train": 9, "eval": 3}},
            "source_splits: no split 'dev'",
        ),
        ({"split_rule": "own", "sizes": {"train": 9, "test": 3}}, "own needs a validation and a test split"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(
    changes: dict, complaint: str, recipe_values: dict, write_recipe: Callable, tmp_path: Path
) -> None:
    write_task(tmp_path / "topic.yaml", **changes)
    with pytest.raises(InputError, match=complaint):
        recipe_tasks(load_recipe(write_recipe({**recipe_values, "tasks": ["mrpc", "topic.yaml"]})))


def test_a_missing_file_is_named_with_the_recipes_line(recipe_values: dict, write_recipe: Callable) -> None:
    recipe = write_recipe({**recipe_values, "tasks": ["mrpc", "topic.yaml"]})
    line = recipe.read_text().splitlines().index("- topic.yaml") + 1
    with pytest.raises(InputError, match=rf"recipe\.yaml:{line}: no task file 'topic\.yaml' in {recipe.parent}"):
        load_recipe(recipe)


def test_one_split_in_two_roles_needs_source_splits() -> None:
    roles = {"train": "train", "validation": "dev", "test": "dev"}
    task = Task(name="t", template="{x}", split_rule="own", source_splits=roles, sizes={"train": 9, "dev": 3})
    assert [source_split_of(task, role) for role in SPLITS] == ["train", "dev", "dev"]
    assert Task(name="t", template="{x}", source_splits=roles).split_rule == "halved"


def test_numbers_of_a_range_are_listed() -> None:
    task = Task(name="t", template="{x}", range=[-0.2, 0.1])
    assert task.possible_targets() == ["-0.2", "-0.1", "0.0", "0.1"] and task.max_target_length is None
    assert get_task("stsb").possible_targets() == [f"{tenths / 10:.1f}" for tenths in range(51)]
    with pytest.raises(InputError, match=r"label -1\.0 in column 'label'; expected a number from 0 to 5"):
        get_task("stsb").target_text({"label": -1.0})
    free = Task(name="t", template="{x}")
    assert free.possible_targets() == () and free.max_target_length == 10 and free.target_text({"label": -7}) == "-7.0"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "jsonl"])
@pytest.mark.parametrize("hidden", [False, True])
def test_labels_are_read_from_every_format(suffix: str, hidden: bool, tmp_path: Path) -> None:
    """Integers, as the hub's ClassLabel columns are; rows labelled -1 are refused, or left out where a task says so."""
    labels = [0, 1, 2, -1] if hidden else [0, 1, 2]
    rows = [{"premise": "a", "hypothesis": f"b{i}", "label": label} for i, label in enumerate(labels)]
    (tmp_path / "mnli").mkdir()
    (tmp_path / "snli").symlink_to(tmp_path / "mnli")
    for split in ("train", "validation_matched"):
        file = tmp_path / "mnli" / f"{split}.{suffix}"
        if suffix == "parquet":
            parquet.write_table(pa.Table.from_pylist(rows), file)
        elif suffix == "jsonl":
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            lines = [list(rows[0]), *(row.values() for row in rows)]
            file.write_text("".join({"csv": ",", "tsv": "\t"}[suffix].join(map(str, line)) + "\n" for line in lines))
    found = load_rows(get_task("snli"), "train", str(tmp_path)).table.to_pylist()
    assert [get_task("snli").target_text(row) for row in found] == ["0", "1", "2"]
    last = load_rows(get_task("mnli"), "train", str(tmp_path)).table.to_pylist()[-1]
    if hidden:
        with pytest.raises(InputError, match=r"label '?-1'? in column 'label'; expected 0, 1, 2"):
            get_task("mnli").target_text(last)
    else:
        assert get_task("mnli").target_text(last) == "2"
    assert (last["label"] in ("2", "-1")) is (suffix in ("csv", "tsv"))


def test_definitions_that_earlier_versions_wrote_are_read() -> None:
    """A run's recipe.yaml stated every key, null where it was not given."""
    given = {"name": "t", "template": "{x}", "labels": {"1": "low", "2": "high"}, "files": {"train": "a", "test": "b"}}
    keys = ("path", "configuration", "target", "metrics", "split_rule", "sizes", "prefix", "similar_to")
    assert Task(**given, **dict.fromkeys(keys), revision="main", max_target_length=None) == Task(**given)
    assert Task(**given).metrics == ["accuracy"] and Task(**given).split_rule == "halved"
