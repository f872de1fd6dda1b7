"""Tasks that a recipe defines: their texts, splits and metrics, and every command over them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import sentence
from typer.testing import CliRunner, Result

from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import build_recipe, dump_recipe, load_recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.tasks.registry import get_task
from hyperformer_cli.tasks.task import Task


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def definitions(tmp_path: Path) -> list[dict[str, Any]]:
    """Label texts in a CSV file, mapped labels in TSV, numbers in JSON lines, free text in parquet."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    def rows(split: str, count: int) -> list[dict[str, Any]]:
        made = []
        for i in range(count):
            text = sentence((split, i))
            made.append(
                {"text": text, "topic": ("cat", "dog")[i % 2], "stars": i % 3, "size": i / 2, "summary": text[:12]}
            )
        return made

    for split, count in (("train", 24), ("validation", 9), ("test", 7)):
        table = pa.Table.from_pylist(rows(split, count))
        csv.write_csv(table, tmp_path / f"{split}.csv")
        lines = [table.column_names, *(row.values() for row in table.to_pylist())]
        (tmp_path / f"{split}.tsv").write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
        parquet.write_table(table, tmp_path / f"{split}.parquet")
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(split, count)))

    def files(suffix: str, *splits: str) -> dict[str, str]:
        return {split: str(tmp_path / f"{split}.{suffix}") for split in splits}

    return [
        {
            "name": "topics",
            "files": files("csv", "train", "validation", "test"),
            "template": "text: {text}",
            "label_column": "topic",
            "labels": ["cat", "dog"],
            "metrics": ["accuracy", "f1"],
        },
        {
            "name": "stars",
            "files": files("tsv", "train", "test"),
            "template": "{text}",
            "label_column": "stars",
            "labels": {"0": "bad", "1": "fair", "2": "good"},
            "prefix": "rate",
        },
        {
            "name": "sizes",
            "files": files("jsonl", "train", "validation"),
            "template": "{text}",
            "label_column": "size",
        },
        {
            "name": "summaries",
            "files": files("parquet", "train", "validation"),
            "template": "{text}",
            "target": "{summary}",
            "max_target_length": 12,
        },
    ]


def test_what_a_definition_says(recipe_values: dict, definitions: list) -> None:
    recipe = build_recipe({**recipe_values, "tasks": ["cola", *definitions]})
    assert recipe.task_names == recipe.adapter.tasks == ["cola", "topics", "stars", "sizes", "summaries"]
    _, topics, stars, sizes, summaries = recipe_tasks(recipe)
    row = {"text": "A {b}", "topic": "dog", "stars": 2, "size": 1.25, "summary": "s"}
    assert topics.input_text(row, with_prefix=True) == "topics text: A {b}"
    assert stars.input_text(row, with_prefix=True) == "rate A {b}"
    assert [task.target_text(row) for task in (topics, stars, sizes, summaries)] == ["dog", "good", "1.2", "s"]
    assert [task.metrics for task in (topics, stars, sizes, summaries)] == [
        ["accuracy", "f1"], ["accuracy"], ["pearson", "spearmanr"], ["bleu"]
    ]  # fmt: skip
    assert topics.split_rule == "own" and stars.split_rule == sizes.split_rule == "halved"
    with pytest.raises(InputError, match="'bird' in column 'topic'; expected cat, dog"):
        topics.target_text({"topic": "bird"})


def test_every_command_takes_them(
    recipe_values: dict, definitions: list, write_recipe: Callable, tmp_path: Path
) -> None:
    recipe = write_recipe({**recipe_values, "tasks": ["cola", *definitions]})
    assert run("recipes", "validate", recipe).exit_code == 0
    plan = json.loads(run("train", recipe, "--dry-run", "--json").stdout)["tasks"]
    assert [plan["topics"][split] for split in ("train", "validation", "test")] == [24, 9, 7]
    assert [plan["stars"][split] for split in ("train", "validation", "test")] == [24, 3, 4]  # 7 test rows, halved
    shown = json.loads(run("tasks", "show", "stars", "--recipe", recipe, "--json").stdout)
    assert shown["labels"] == ["bad", "fair", "good"] and shown["example"]["target"] == "bad"

    trained = run("train", recipe)
    assert trained.exit_code == 0, trained.output
    results = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    counted = {(r["task"], r["metric"]): r["examples"] for r in results if r["split"] == "test"}
    assert (
        counted[("topics", "f1")] == 7 and counted[("stars", "accuracy")] == 4 and counted[("summaries", "bleu")] == 5
    )
    again = json.loads(run("eval", tmp_path / "run", "--tasks", "stars,summaries", "--json").stdout)["results"]
    assert again == [result for result in results if result["task"] in ("stars", "summaries")]


def test_a_resolved_recipe_reads_back(recipe_values: dict, definitions: list, tmp_path: Path) -> None:
    recipe = build_recipe({**recipe_values, "tasks": ["cola", *definitions]})
    (tmp_path / "again.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "again.yaml").as_dict() == recipe.as_dict()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "cola"}, "'cola' is the name of a shipped task"),
        ({"name": "a/b"}, "tasks.0.name"),
        ({"template": "no column"}, "tasks.0.template: name columns in braces"),
        ({"template": "{open"}, "tasks.0.template: not a template"),
        ({"templat": "{text}"}, "unknown key 'tasks.0.templat'; did you mean 'template'"),
        ({"template": "{text.foo}"}, "tasks.0.template: '{text.foo}': only columns"),
        ({"template": "{text:d}"}, "tasks.0.template: '{text}': only columns"),
        ({"labels": ["cat"]}, "tasks.0.labels"),
        ({"labels": ["cat", " dog"]}, "labels: ' dog' is empty or has spaces around it"),
        ({"labels": [1, 2]}, "tasks.0.labels.0: found 1"),
        ({"labels": ["cat", "cat"]}, "tasks.0.labels: duplicate value 'cat'"),
        ({"target": "{text}"}, "labels or target, not both"),
        ({"path": "someone/set"}, "files or path, not both"),
        ({"files": {"validation": "v.csv"}}, "needs a train split"),
        ({"files": {"train": "t.csv", "dev": "v.csv"}}, "dev"),
        ({"metrics": ["pearson"]}, "'pearson' does not score labels; use accuracy"),
        ({"labels": ["cat", "dog", "cow"]}, "'f1' needs exactly 2 labels, found 3"),
        ({"template": None}, "tasks.0.template"),
    ],
)
def test_wrong_definitions_are_explained(
    change: dict, complaint: str, recipe_values: dict, definitions: list, write_recipe: Callable
) -> None:
    path = write_recipe({**recipe_values, "tasks": [{**definitions[0], **change}]})
    with pytest.raises(InputError, match=complaint):
        recipe_tasks(load_recipe(path))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"files": {"train": "missing.csv", "validation": "missing.csv"}}, "no such file"),
        ({"files": {"train": "a.txt", "validation": "b.txt"}}, "reads .parquet, .jsonl, .csv, .tsv files"),
        ({"template": "{title}"}, "no column 'title'"),
        ({"labels": ["cat", "bird"]}, "row 2: label 'dog' in column 'topic'; expected cat, bird"),
        ({"files": None}, "has no folder 'topics'"),
        ({"template": "{text[b]}"}, "row 1: column 'text' must hold several texts"),
        ({"labels": {"cat": "\u2603", "dog": "dog"}}, "the tokenizer turns label"),
    ],
)
def test_files_that_do_not_fit(
    change: dict, complaint: str, recipe_values: dict, definitions: list, write_recipe: Callable, tmp_path: Path
) -> None:
    path = write_recipe({**recipe_values, "tasks": [{**definitions[0], **change}]})
    result = run("train", path)
    assert result.exit_code == 2 and complaint in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_task_on_the_hub_states_its_sizes_for_a_dry_run(recipe_values: dict, write_recipe: Callable) -> None:
    task = {"name": "news", "path": "someone/news", "template": "{text}", "labels": {"0": "a", "1": "b"}}
    values = {**recipe_values, "data": {**recipe_values["data"], "source": "hub"}, "tasks": [task]}
    refused = run("train", write_recipe(values), "--dry-run")
    assert refused.exit_code == 2 and "state its sizes" in refused.stderr
    task["sizes"] = {"train": 1000, "test": 100}
    plan = json.loads(run("train", write_recipe(values), "--dry-run", "--json").stdout)
    assert plan["tasks"]["news"] == {"train": 1000, "validation": 50, "test": 50, "share_of_steps": 1.0}


@pytest.mark.parametrize(
    ("labels", "stored", "text"),
    [
        ({"true": "good", "false": "bad"}, False, "bad"),
        ({"1": "one", "2": "two"}, 2.0, "two"),
        ({"1": "one", "2": "two"}, 1, "one"),
        ({"1.5": "half", "2": "two"}, 1.5, "half"),
    ],
)
def test_labels_are_compared_as_files_write_them(labels: dict, stored: object, text: str, definitions: list) -> None:
    task = Task(**{**definitions[0], "labels": labels, "metrics": None})
    assert task.target_text({"topic": stored}) == text


def test_long_rows_and_dates_in_json_lines_are_text(tmp_path: Path) -> None:
    long = "word " * 400_000
    rows = [{"text": "2020-01-01", "label": 0}, {"text": long, "label": 1}, {"text": "2020-01-02", "label": 0}]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "test")}
    task = Task(name="long", files=files, template="{text}", labels={"0": "no", "1": "yes"})
    assert load_rows(task, "train", "hub").table.to_pylist() == rows


@pytest.mark.parametrize(
    ("label", "text"), [(True, "1"), (False, "0"), (1.0, "1"), ("1.0", "1"), ("1.", "1"), (0, "0"), ("0", "0")]
)
def test_integer_labels_are_read_however_a_file_writes_them(label: object, text: str) -> None:
    assert get_task("boolq").target_text({"label": label}) == text


def test_truth_values_may_be_labels_of_their_own() -> None:
    task = Task(name="own", template="{text}", labels={"true": "yes", "false": "no"})
    assert task.target_text({"label": True}) == "yes"


@pytest.mark.parametrize("label", [10**400, "x", None, float("nan")])
def test_numbers_that_are_none_are_refused(label: object) -> None:
    with pytest.raises(InputError, match="expected a number from 0 to 5"):
        get_task("stsb").target_text({"label": label})


def test_a_negative_zero_is_zero() -> None:
    assert get_task("stsb").target_text({"label": -0.04}) == "0.0"
