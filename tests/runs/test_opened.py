"""Opening runs: a run folder, an export, one model per task, a backbone that has moved; and what cannot be opened."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration
from typer.testing import CliRunner

from hyperformer_cli import AdaptedModel
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.cli.main import app
from hyperformer_cli.config.cells import cell_folder
from hyperformer_cli.config.loading import build_recipe, dump_recipe
from hyperformer_cli.data.loading import load_tokenizer
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.storage.atomic import write_text

SHAPE = {"vocab_size": 320, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
TASKS = ["cola", "mrpc", "stsb"]
MakeRun = Callable[..., Path]


def make_backbone(folder: Path, seed: int = 0, **shape: Any) -> Path:
    torch.manual_seed(seed)
    T5ForConditionalGeneration(T5Config(**SHAPE | shape, decoder_start_token_id=0)).save_pretrained(folder)
    return folder


@pytest.fixture
def make_run(recipe_values: dict[str, Any], tmp_path: Path) -> MakeRun:
    """Makes what training leaves, with weights drawn at random, so that those of every folder differ."""
    torch.manual_seed(7)

    def make(folder: Path, **changes: Any) -> Path:
        recipe = build_recipe({**recipe_values, "tasks": TASKS, "output_dir": str(folder), **changes})
        run, source = RunFolder(folder), BackboneSource.from_recipe(recipe)
        write_text(run.recipe_file, dump_recipe(recipe))
        for weights in (run.best, run.last) if recipe.joint else ():
            model = AdaptedModel.attach(load_backbone(source), recipe.adapter, source)
            with torch.no_grad():
                for parameter in model.trained_parameters().values():
                    parameter.copy_(0.3 * torch.randn(parameter.shape))
            model.save_pretrained(weights)
            load_tokenizer(recipe).save_pretrained(weights)
        return folder

    return make


@pytest.fixture
def make_alone(make_run: MakeRun) -> MakeRun:
    """Makes a run with one model per task."""

    def make(folder: Path, **changes: Any) -> Path:
        for task in TASKS:
            make_run(cell_folder(folder, {"task": task}), tasks=[task], **changes)
        return make_run(folder, joint=False, **changes)

    return make


def logits(model: AdaptedModel, task: str = "mrpc") -> Tensor:
    ids = torch.arange(3, 17).reshape(2, 7)
    with torch.inference_mode():
        return model(input_ids=ids, labels=ids[:, :4].contiguous(), task=task).logits


def test_a_run(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    run = OpenedRun(folder)
    assert (run.path, run.recipe.task_names, list(run.declared), list(run.tasks)) == (folder, TASKS, TASKS, TASKS)
    assert run.has_one_model and run.with_one_model() is run and run.new_backbone() is None
    assert run.parts() == {"": run} == run.parts(["mrpc", "cola"]) and run.part("stsb") is run
    assert run.model is run.model and not run.model.training and run.weights_folder == folder / "best"
    assert torch.equal(logits(run.model), logits(AdaptedModel.from_pretrained(folder / "best").eval()))
    assert run.tokenization.tokenizer is run.tokenizer and run.tokenization.max_source_length == 32
    assert run.tokenizer("the cat")["input_ids"] == load_tokenizer(run.recipe)("the cat")["input_ids"]
    last = OpenedRun(folder, weights="last")
    assert torch.equal(logits(last.model), logits(AdaptedModel.from_pretrained(folder / "last").eval()))
    assert not torch.equal(logits(last.model), logits(run.model))


def test_nothing_is_loaded_before_it_is_used(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    shutil.rmtree(folder / "best")
    run = OpenedRun(folder)
    assert list(run.declared) == TASKS and run.parts() == {"": run}
    for attribute in ("model", "tokenizer", "tasks", "weights_folder"):
        with pytest.raises(InputError, match=r"run: no best/ weights yet"):
            getattr(run, attribute)
    shutil.copytree(folder / "last", folder / "best")  # the run has ended meanwhile
    assert list(run.tasks) == TASKS


def test_overrides_change_the_recipe(make_run: MakeRun, make_alone: MakeRun, tmp_path: Path) -> None:
    changes = ["evaluation.batch_size=3", "data.max_source_length=9"]
    run = OpenedRun(make_run(tmp_path / "run"), overrides=changes)
    assert run.recipe.evaluation.batch_size == 3 and run.tokenization.max_source_length == 9
    part = OpenedRun(make_alone(tmp_path / "alone"), overrides=changes).part("cola")
    assert part.recipe.evaluation.batch_size == 3 and part.tokenization.max_source_length == 9
    with pytest.raises(InputError, match="did you mean 'batch_size'"):
        OpenedRun(tmp_path / "run", overrides=["evaluation.batch_sise=3"])


@pytest.mark.parametrize("as_folder_of_best", [True, False])
def test_an_export(as_folder_of_best: bool, make_run: MakeRun, tmp_path: Path) -> None:
    folder, export = make_run(tmp_path / "run"), tmp_path / "export"
    if as_folder_of_best:
        shutil.copytree(folder / "best", export)
        shutil.copy(folder / "recipe.yaml", export)
    else:
        command = ["export", str(folder), "--format", "static", "--to", str(export), "--tasks", "stsb,mrpc"]
        assert CliRunner().invoke(app, command).exit_code == 0
    run = OpenedRun(export)
    assert run.weights_folder == export and len(run.tokenizer) == len(load_tokenizer(run.recipe))
    assert torch.allclose(logits(run.model), logits(OpenedRun(folder).model), atol=1e-5)
    if not as_folder_of_best:  # an export of some tasks answers those, whatever the run was trained on
        assert list(run.declared) == TASKS and list(run.tasks) == ["mrpc", "stsb"]
        with pytest.raises(InputError, match="has no task 'cola'; valid: mrpc, stsb"):
            run.part("cola")
    with pytest.raises(InputError, match="no last/ weights"):
        OpenedRun(export, weights="last").weights_folder  # noqa: B018


def test_one_model_per_task(make_alone: MakeRun, tmp_path: Path) -> None:
    folder = make_alone(tmp_path / "run")
    run = OpenedRun(folder)
    assert not run.has_one_model and list(run.tasks) == TASKS
    assert list(run.parts()) == TASKS and list(run.parts(["stsb", "cola", "cola"])) == ["cola", "stsb"]
    for task, part in run.parts().items():
        assert part is run.part(task) and part.has_one_model and list(part.tasks) == [task]
        own = AdaptedModel.from_pretrained(folder / "cells" / f"task={task}" / "best").eval()
        assert torch.equal(logits(part.model, task), logits(own, task))
    last = OpenedRun(folder, weights="last").part("cola")
    assert not torch.equal(logits(last.model, "cola"), logits(run.part("cola").model, "cola"))
    with pytest.raises(InputError, match=r"run: holds one model per task; give one of them, such as .+/task=cola$"):
        run.with_one_model()
    for attribute in ("model", "tokenizer", "weights_folder"):
        with pytest.raises(InputError, match="holds one model per task"):
            getattr(run, attribute)


def test_a_model_can_be_unloaded(make_alone: MakeRun, tmp_path: Path) -> None:
    part = OpenedRun(make_alone(tmp_path / "run")).part("mrpc")
    part.unload()  # before it is loaded there is nothing to forget
    first, expected = part.model, logits(part.model)
    part.unload()
    assert part.model is not first and torch.equal(logits(part.model), expected)


@pytest.mark.parametrize("joint", [True, False])
def test_unknown_tasks(joint: bool, make_run: MakeRun, make_alone: MakeRun, tmp_path: Path) -> None:
    run = OpenedRun((make_run if joint else make_alone)(tmp_path / "run"))
    for refuses in (run.part, lambda task: run.parts(["cola", task])):
        with pytest.raises(InputError, match="the run has no task 'mrcp'; did you mean 'mrpc'"):
            refuses("mrcp")
        with pytest.raises(InputError, match="the run has no task 'qqp'"):  # one that is known, but not to the run
            refuses("qqp")


@pytest.mark.parametrize("joint", [True, False])
def test_another_backbone_folder(
    joint: bool, make_run: MakeRun, make_alone: MakeRun, recipe_values: dict[str, Any], tmp_path: Path
) -> None:
    old, moved = make_backbone(tmp_path / "old"), tmp_path / "moved"
    model = {"name": str(old), "tokenizer": recipe_values["model"]["tokenizer"]}
    folder = (make_run if joint else make_alone)(tmp_path / "run", model=model)
    expected = logits(OpenedRun(folder).part("mrpc").model)
    old.rename(moved)
    with pytest.raises(InputError, match=r"model '\S+/old'"):
        OpenedRun(folder).part("mrpc").model  # noqa: B018
    run = OpenedRun(folder, backbone=moved)
    assert torch.equal(logits(run.part("mrpc").model), expected)
    anew = run.part("mrpc").new_backbone()
    assert anew is not run.part("mrpc").model.backbone and anew.config.d_model == 32
    for other, complaint in (
        (make_backbone(tmp_path / "other", seed=1), "frozen weights are not those it was trained on"),
        (make_backbone(tmp_path / "wide", d_ff=128), "another configuration"),
    ):
        with pytest.raises(InputError, match=complaint):
            OpenedRun(folder, backbone=other).part("mrpc").model  # noqa: B018


def test_folders_that_are_no_runs(make_run: MakeRun, make_alone: MakeRun, tmp_path: Path) -> None:
    for folder in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError, match=r"not a run folder \(it has no recipe.yaml\)"):
            OpenedRun(folder)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    with pytest.raises(InputError, match="a sweep; give the run of one of its cells"):
        OpenedRun(tmp_path / "sweep")
    alone = make_alone(tmp_path / "alone")
    shutil.rmtree(alone / "cells" / "task=mrpc")  # such as of a run that is not finished
    run = OpenedRun(alone)
    assert list(run.parts(["cola"])) == ["cola"]
    for refuses in (lambda: run.part("mrpc"), run.parts):
        with pytest.raises(InputError, match=r"task=mrpc: not a run folder"):
            refuses()


@pytest.mark.parametrize(
    ("file", "content", "attribute", "complaint"),
    [
        ("recipe.yaml", "name: [", None, r"recipe\.yaml:2: not valid YAML"),
        ("recipe.yaml", "name: x\ncolour: red\n", None, "unknown key 'colour'"),
        ("best/hyperformer.json", "{", "model", r"hyperformer\.json: damaged"),
        ("best/hyperformer.json", '{"format_version": 9}', "tasks", "format version 9"),
        ("best/hyperformer.safetensors", "cut off", "model", r"hyperformer\.safetensors: missing or damaged"),
        ("best/hyperformer.safetensors", None, "model", r"hyperformer\.safetensors: missing or damaged"),
        ("best/tokenizer.json", "{", "tokenizer", "best: no tokenizer that can be loaded"),
        ("best/tokenizer.json", None, "tokenizer", "best: no tokenizer that can be loaded"),
    ],
)
def test_damaged_folders(
    file: str, content: str | None, attribute: str | None, complaint: str, make_run: MakeRun, tmp_path: Path
) -> None:
    folder = make_run(tmp_path / "run")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(InputError, match=complaint):
        getattr(OpenedRun(folder), attribute or "model")


def test_a_task_that_is_declared_no_more(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("- stsb", "- stsx"))
    with pytest.raises(InputError, match=r"recipe\.yaml:\d+: tasks: unknown task 'stsx'; did you mean 'stsb'"):
        OpenedRun(folder)
