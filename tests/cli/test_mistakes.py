"""What a person can get wrong: each ends with a short message, its exit code, and nothing left behind."""

import math
import os
import shutil
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


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def check_refused(result: Result, parts: list[str], code: int = 2) -> None:
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output and len(result.stderr.splitlines()) < 20
    for part in parts:
        assert part in result.stderr
    assert result.stdout == ""


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# Key path, what is written there (None removes the key), what the message must hold.
RECIPES: list[tuple[str, Any, list[str]]] = [
    ("trainig", {}, ["unknown key 'trainig'", "'training'"]),
    ("nmae", "x", ["unknown key 'nmae'", "'name'"]),
    ("name", None, ["'name' is missing"]),
    ("name", "", ["name", "at least 1 character"]),
    ("name", 3, ["name", "string"]),
    ("adapter", None, ["'adapter' is missing"]),
    ("adapter", "hyperformer++", ["adapter", "'hyperformer++'"]),
    ("adapter.method", "hyperfromer", ["adapter.method", "'hyperformer'"]),
    ("adapter.method", None, ["adapter.method", "missing"]),
    ("adapter.reduction_factr", 4, ["adapter.reduction_factr", "'reduction_factor'"]),
    ("adapter.reduction_factor", 0, ["adapter.reduction_factor", "greater than or equal to 1"]),
    ("adapter.reduction_factor", 2.5, ["adapter.reduction_factor", "integer"]),
    ("adapter.reduction_factor", "four", ["adapter.reduction_factor", "'four'"]),
    ("adapter.reduction_factor", 64, ["reduction_factor 64", "no bottleneck"]),
    ("adapter.non_linearity", "gelu_newer", ["adapter.non_linearity", "'gelu_new'"]),
    ("adapter.conditional_layer_norm", False, ["adapter.conditional_layer_norm", "always true"]),
    ("adapter.adapter_blocks", "no", ["adapter.adapter_blocks", "boolean"]),
    ("adapter.tasks", ["cola"], ["top of the recipe"]),
    ("tasks", [], ["tasks", "at least 1"]),
    ("tasks", None, ["tasks", "missing"]),
    ("tasks", "cola", ["tasks", "list"]),
    ("tasks", ["cola", "cola"], ["duplicate value 'cola'"]),
    ("tasks", ["cola", "mrcp"], ["unknown task 'mrcp'", "'mrpc'"]),
    ("tasks", ["cola", 3], ["tasks.1", "string"]),
    ("tasks", ["cola", "rte"], ["no folder 'rte'"]),
    ("joint", "yes", ["joint", "boolean"]),
    ("seed", -1, ["seed", "greater than or equal to 0"]),
    ("seed", 2**40, ["seed", "less than"]),
    ("output_dir", 7, ["output_dir", "string"]),
    ("model", {}, ["model", "name is needed"]),
    ("model.init", "randm", ["model.init", "'random'"]),
    ("model.init", "pretrained", ["name is needed"]),
    ("model.name", "nowhere/t5", ["nowhere/t5", "hub cannot be reached"]),
    ("model.tokenizer", None, ["tokenizer is needed"]),
    ("model.tokenizer", "nowhere/at-all", ["tokenizer 'nowhere/at-all'", "hub cannot be reached"]),
    ("model.config.d_modle", 32, ["d_modle", "'d_model'"]),
    ("model.config.vocab_size", 20, ["do not belong together"]),
    ("model.config.num_heads", "many", ["model.config"]),
    ("model.dtype", "float16", ["model.dtype", "'float16'"]),
    ("data.source", "nowhere", ["'nowhere'", "neither 'hub'"]),
    ("data.source", "hub", ["nyu-mll/glue", "hub cannot be reached", "data.source"]),
    ("data.protocol", "papers", ["data.protocol", "'paper'"]),
    ("data.max_source_length", 0, ["data.max_source_length"]),
    ("data.samples_per_task", 0, ["data.samples_per_task", "greater than or equal to 1"]),
    ("data.sampling.temperature", 0, ["data.sampling.temperature", "greater than 0"]),
    ("data.sampling.temprature", 1, ["data.sampling.temprature", "'temperature'"]),
    ("data.sampling.mixed_batches", 1, ["data.sampling.mixed_batches", "boolean"]),
    ("training.max_steps", "many", ["training.max_steps", "'many'"]),
    ("training.max_steps", 0, ["training.max_steps", "greater than or equal to 1"]),
    ("training.batch_size", -8, ["training.batch_size"]),
    ("training.learning_rate", 0, ["training.learning_rate", "greater than 0"]),
    ("training.learning_rate", ".inf", ["training.learning_rate"]),
    ("training.learning_rate", math.inf, ["training.learning_rate", "finite"]),
    ("training.max_grad_norm", math.inf, ["training.max_grad_norm", "finite"]),
    ("data.sampling.temperature", math.nan, ["data.sampling.temperature", "finite"]),
    ("model.config.initializer_factor", math.nan, ["model.config", "finite"]),
    ("training.batch_size", 10**12, ["training.batch_size", "less than or equal to"]),
    ("tasks", ["x" * 300], ["tasks.0", "name of 300 characters"]),
    ("output_dir", f"runs/{'x' * 300}", ["output_dir", "too long"]),
    ("training.schedule", "linaer", ["training.schedule", "'linear'"]),
    ("training.label_smoothing", 1.0, ["training.label_smoothing", "less than 1"]),
    ("training.loss_reduction", "average", ["training.loss_reduction"]),
    ("training.precision", "float16", ["float16 is refused"]),
    ("training.precision", "bf16", ["training.precision", "'bfloat16'"]),
    ("training.warmup_steps", -1, ["training.warmup_steps"]),
    ("training.report_to", ["tensorbord"], ["training.report_to.0", "'tensorboard'"]),
    ("training.epochs", 3, ["unknown key 'training.epochs'"]),
    ("evaluation.every", 0, ["evaluation.every"]),
    ("evaluation.splits", ["tests"], ["evaluation.splits.0", "'test'"]),
    ("evaluation.method", "greedy", ["evaluation.method"]),
    ("evaluation.num_beams", 0, ["evaluation.num_beams"]),
    ("evaluation.max_example", 3, ["'max_examples'"]),
]


@pytest.mark.parametrize(
    ("key", "value", "parts"), RECIPES, ids=lambda v: str(v)[:30] if not isinstance(v, list) else ""
)
def test_recipes(
    key: str, value: Any, parts: list[str], recipe_values: dict, write_recipe: Callable, tmp_path: Path
) -> None:
    values = yaml.safe_load(yaml.safe_dump(recipe_values))
    *path, last = key.split(".")
    section = values
    for part in path:
        section = section.setdefault(part, {})
    if value is None:
        del section[last]
    else:
        section[last] = value
    recipe = write_recipe(values)
    before = files(tmp_path)
    check_refused(run("train", recipe), parts)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"name: [1\n", ["not valid YAML"]),
        (b"name: a\n\tmodel: b\n", ["not valid YAML"]),
        (b"- a\n- b\n", ["a recipe is a mapping"]),
        (b"just text\n", ["a recipe is a mapping"]),
        (b"", ["'name' is missing"]),
        (b"name: a\nname: b\n", ["duplicate key 'name'"]),
        (b"name: \xff\xfe\n", ["not UTF-8"]),
        (b"name: !!python/object/apply:os.mkdir ['made-by-yaml']\n", ["not valid YAML"]),
        (b"name: !!python/name:os.system\n", ["not valid YAML"]),
        (b"extends: nothing.yaml\n", ["no file 'nothing.yaml' beside it"]),
        (b"extends: recipe.yaml\n", ["extends itself"]),
        (b"extends: [a, b]\n", ["extends"]),
        (b"name: a\n---\nname: b\n", ["not valid YAML"]),
        (b"a: &x\n  b: *x\n", ["recipe.yaml"]),
    ],
)
def test_files_that_are_no_recipes(
    content: bytes, parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_bytes(content)
    before = files(tmp_path)
    check_refused(run("train", "recipe.yaml"), ["recipe.yaml", *parts])
    assert files(tmp_path) == before


def _rewrite(rows: list[dict]) -> Callable[[Path], None]:
    return lambda path: parquet.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda path: path.unlink(), ["no train.parquet"]),
        (lambda path: shutil.rmtree(path.parent), ["no folder 'cola'"]),
        (lambda path: path.write_bytes(b"PAR1 no, not really"), ["train.parquet", "cannot be read"]),
        (lambda path: path.write_bytes(b""), ["train.parquet", "cannot be read"]),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), ["train.parquet", "cannot be read"]),
        (_rewrite([{"text": "a", "label": 1}]), ["no column 'sentence'", "found: text, label"]),
        (_rewrite([{"sentence": "a"}]), ["no column 'label'"]),
        (_rewrite([{"sentence": "a", "label": 1}, {"sentence": "b", "label": 2}]), ["row 2: label 2", "expected 0, 1"]),
        (_rewrite([{"sentence": "a", "label": -1}]), ["row 1: label -1"]),
        (_rewrite([{"sentence": "a", "label": "yes"}]), ["row 1: label 'yes'"]),
        (_rewrite([{"sentence": "a", "label": None}, {"sentence": "a", "label": 1}]), ["row 1", "'label' is empty"]),
        (_rewrite([{"sentence": "a", "label": 1}, {"sentence": None, "label": 1}]), ["row 2", "'sentence' is null"]),
        (_rewrite([{"sentence": b"\xff", "label": 1}]), ["'sentence' is not UTF-8 text"]),
        (_rewrite([{"sentence": 5, "label": 1}]), ["'sentence' is not UTF-8 text"]),
        (lambda path: parquet.write_table(parquet.read_table(path).slice(0, 0), path), ["has no rows"]),
    ],
)
def test_data_folders(
    damage: Callable[[Path], None],
    parts: list[str],
    recipe_values: dict,
    write_recipe: Callable,
    data_folder: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(data_folder, tmp_path / "data")
    damage(tmp_path / "data" / "cola" / "train.parquet")
    recipe = write_recipe({**recipe_values, "data": {"source": str(tmp_path / "data")}})
    before = files(tmp_path)
    check_refused(run("train", recipe), parts)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("suffix", "content", "parts"),
    [
        (".csv", b"sentence,label\n\xff\xfe,1\n", ["UTF"]),
        (".csv", b"sentence,label\na,1,2,3\n", ["cannot be read"]),
        (".csv", b"", ["cannot be read"]),
        (".csv", b"sentence,label\n", ["has no rows"]),
        (".tsv", b"sentence,label\na,1\n", ["no column 'sentence'"]),
        (".jsonl", b'{"sentence": "a", "label": 1}\n{"sentence": \n', ["line 2", "not valid JSON"]),
        (".jsonl", b"[1, 2]\n", ["line 1", "not a JSON object"]),
        (".jsonl", b"", ["has no rows"]),
    ],
)
def test_text_files(
    suffix: str, content: bytes, parts: list[str], recipe_values: dict, write_recipe: Callable, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "cola"
    folder.mkdir(parents=True)
    (folder / f"train{suffix}").write_bytes(content)
    recipe = write_recipe({**recipe_values, "tasks": ["cola"], "data": {"source": str(tmp_path / "data")}})
    before = files(tmp_path)
    check_refused(run("train", recipe), [f"train{suffix}", *parts])
    assert files(tmp_path) == before


def test_an_output_folder_that_cannot_be_written(recipe_values: dict, write_recipe: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    recipe = write_recipe({**recipe_values, "output_dir": str(tmp_path / "file" / "run")})
    check_refused(run("train", recipe), ["output_dir", "cannot be written"])


def test_unlabelled_validation_rows_are_named(
    recipe_values: dict, write_recipe: Callable, tmp_path: Path, data_folder: Path
) -> None:
    shutil.copytree(data_folder / "cola", tmp_path / "data" / "cola")
    rows = [{**row, "label": -1} for row in example_rows("cola", 20, "x")]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / "cola" / "validation.parquet")
    recipe = write_recipe({**recipe_values, "tasks": ["cola"], "data": {"source": str(tmp_path / "data")}})
    check_refused(run("train", recipe), ["validation.parquet: row 1: label -1"])


# What the dry run says of these must be what the start says of them.
REFUSED_BY_BOTH = [
    ("training.max_steps=99999999999999999999999", "training.max_steps: found 9999"),
    ("data.max_source_length=99999999999999999999999", "should be less than or equal to 2147483647"),
    ("evaluation.num_beams=100000000000000000000", "evaluation.num_beams"),
    ("training.warmup_steps=1000000000000000000000", "training.warmup_steps"),
    ("training.max_steps=010", "found '010', should be an integer"),
    ("training.max_steps=1:30", "found '1:30', should be an integer"),
    ("training.max_steps=", "found None, should be an integer"),
    ("evaluation.splits=[test,test]", "evaluation.splits: duplicate value 'test'"),
    ("training.report_to=[aim]", "training.report_to: aim is not installed"),
    ("output_dir=/dev/null/x", "output_dir /dev/null/x: cannot be written"),
]


@pytest.mark.parametrize(("change", "complaint"), REFUSED_BY_BOTH)
def test_the_dry_run_refuses_what_the_start_refuses(
    change: str, complaint: str, recipe_values: dict, write_recipe: Callable, tmp_path: Path
) -> None:
    recipe = write_recipe(recipe_values)
    for options in ([], ["--dry-run"]):
        check_refused(run("train", recipe, *options, change), [complaint])
    assert not (tmp_path / "run").exists()


def test_a_configuration_over_trained_weights_is_refused_by_both(
    recipe_values: dict, write_recipe: Callable, tokenizer_folder: Path
) -> None:
    recipe = write_recipe({**recipe_values, "model": {"name": str(tokenizer_folder), "config": {"d_model": 64}}})
    for options in ([], ["--dry-run"]):
        check_refused(run("train", recipe, *options), ["config replaces values of a model without weights"])


@pytest.mark.parametrize("name", ["../../elsewhere", "/elsewhere"])
def test_a_name_that_leads_out_of_the_folder_of_outputs(name: str, recipe_values: dict, write_recipe: Callable) -> None:
    values = {key: value for key, value in recipe_values.items() if key != "output_dir"}
    check_refused(run("train", write_recipe({**values, "name": name}), "--dry-run"), ["leads out of outputs/"])
    assert run("recipes", "show", write_recipe({**recipe_values, "name": name})).exit_code == 0


def test_too_little_memory_is_said_in_one_line(recipe_values: dict, write_recipe: Callable) -> None:
    recipe = write_recipe(recipe_values)
    refused = run("train", recipe, "adapter.task_embedding_dim=2000000000", "adapter.projector_hidden_dim=2000000000")
    check_refused(refused, ["error: out of memory (", "training.micro_batch_size"], code=1)


def test_every_key_of_another_recipe_is_named(recipe_values: dict, write_recipe: Callable, tmp_path: Path) -> None:
    recipe = write_recipe({**recipe_values, "training": {**recipe_values["training"], "max_steps": 2}})
    assert run("train", recipe, "evaluation.every=2").exit_code == 0
    again = run("train", recipe, "seed=1", "evaluation.every=1", "training.batch_size=4")
    check_refused(again, ["evaluation.every is 2 there and 1 here, seed is 42", "training.batch_size is 8 there and 4"])
    many = [
        f"training.{key}" for key in ("max_steps=3", "batch_size=4", "learning_rate=1", "replicas=2", "compile=true")
    ]
    check_refused(run("train", recipe, "evaluation.every=1", *many), [", and 1 other keys differ; choose another"])


def test_a_value_that_an_option_does_not_take(tmp_path: Path) -> None:
    for command in (["eval", tmp_path, "--weights", "worst"], ["report", tmp_path, "--format", "word"]):
        refused = run(*command)
        assert refused.exit_code == 2
        assert "is not one of" in refused.stderr and "Value error" not in refused.stderr


@pytest.mark.parametrize("command", [["recipes", "copy", "quickstart"], ["tasks", "copy", "mrpc"]])
def test_copies_where_none_can_be_written(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = run(*command, tmp_path / "file" / "copy.yaml")
    check_refused(refused, [f"{tmp_path}/file/copy.yaml: cannot be written"])


def test_a_pipe_is_no_task_and_no_recipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for command in (["tasks", "show"], ["recipes", "show"]):
        assert run(*command, tmp_path / "pipe.yaml").exit_code == 2
