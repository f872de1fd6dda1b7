"""Which metric selects, how long training is patient, how tasks share the steps, and where relative data are."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hyperformer_cli.config.cells import part_recipes
from hyperformer_cli.config.loading import build_recipe, dump_recipe, load_recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.errors import InputError

VALUES = {"name": "r", "model": {"name": "bundled"}, "adapter": {"method": "hyperformer++"}, "tasks": ["mrpc", "cola"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["evaluation.metric=accuracy"], "give average or task.metric, such as mytask.accuracy"),
        (["evaluation.metric=mrpc.acuracy"], "did you mean 'accuracy'?"),
        (["evaluation.metric=mrcp.accuracy"], "no task 'mrcp'; did you mean 'mrpc'?"),
        (["evaluation.metric=cola.accuracy"], "not scored by 'accuracy' but by matthews_correlation"),
        (["evaluation.patience=0"], "greater than or equal to 1"),
        (["evaluation.method=rang"], "did you mean 'rank'?"),
        (["data.sampling.probabilities={mrcp: 0.5}"], "no task 'mrcp'; did you mean 'mrpc'?"),
        (["data.sampling.probabilities={mrpc: 1.0}"], "nothing for the other tasks"),
        (["data.sampling.probabilities={mrpc: 0.5, cola: 0.4}"], "must sum to 1"),
        (["data.sampling.probabilities={mrpc: 0}"], "greater than 0"),
        (["data.sampling.probabilities={mrpc: 0.5}", "joint=false"], "trains each task alone"),
        (["data.sampling.probabilities={mrpc: 0.5}", "data.protocol=reference"], "no sampling.probabilities"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(VALUES))
    with pytest.raises(InputError, match=message.replace("?", r"\?").replace("{", r"\{")):
        recipe_tasks(load_recipe(tmp_path / "r.yaml", changes))


def test_tasks_trained_alone_are_selected_by_the_metric_if_it_is_theirs() -> None:
    recipe = build_recipe({**VALUES, "joint": False, "evaluation": {"metric": "mrpc.f1"}})
    metrics = {task: part.evaluation.metric for task, part in part_recipes(recipe).items()}
    assert metrics == {"mrpc": "mrpc.f1", "cola": "average"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A recipe, a task's file in a folder below, and data beside each."""
    folder = tmp_path / "project"
    (folder / "tasks").mkdir(parents=True)
    (folder / "glue" / "mrpc").mkdir(parents=True)
    (folder / "train.csv").touch()
    (folder / "tasks" / "mine.csv").touch()
    inline = {
        "name": "inline",
        "template": "{a}",
        "labels": ["x", "y"],
        "files": {"train": "train.csv", "test": "gone.csv"},
    }
    own = {"name": "own", "template": "{a}", "labels": ["x", "y"], "files": {"train": "mine.csv", "test": "mine.csv"}}
    (folder / "tasks" / "own.yaml").write_text(yaml.safe_dump(own))
    values = {**VALUES, "tasks": ["mrpc", inline, "tasks/own.yaml"], "data": {"source": "glue"}}
    (folder / "r.yaml").write_text(yaml.safe_dump(values))
    return folder


def test_paths_start_from_the_file_that_they_are_written_in(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    recipe = load_recipe(project / "r.yaml")
    files = {task.name: task.files for task in recipe_tasks(recipe)}
    assert recipe.data.source == str(project / "glue")
    assert files["inline"] == {"train": str(project / "train.csv"), "test": "gone.csv"}  # for the message
    assert files["own"] == dict.fromkeys(("train", "test"), str(project / "tasks" / "mine.csv"))


def test_what_is_not_there_is_looked_for_in_the_current_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move(project / "glue", project.parent / "glue")
    monkeypatch.chdir(project.parent)
    assert load_recipe(project / "r.yaml").data.source == str(project.parent / "glue")
    (project.parent / "other").mkdir()
    assert load_recipe(project / "r.yaml", ["data.source=other"]).data.source == str(project.parent / "other")


@pytest.mark.parametrize("source", ["hub", "bundled"])
def test_names_are_no_paths(source: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (project / source).mkdir()
    assert load_recipe(project / "r.yaml", [f"data.source={source}"]).data.source == source


def test_a_written_recipe_is_read_the_same_from_anywhere(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)
    written = load_recipe("r.yaml")
    (tmp_path / "run.yaml").write_text(dump_recipe(written))
    monkeypatch.chdir("/")
    assert load_recipe(tmp_path / "run.yaml").as_dict() == written.as_dict()


def test_a_value_that_is_no_path_is_explained(write_recipe: Callable) -> None:
    with pytest.raises(InputError, match=r"data\.source: found 3"):
        load_recipe(write_recipe({**VALUES, "data": {"source": 3}}))
