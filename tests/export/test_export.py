"""What every export goes through: opening a run, a comparison that can fail, and nothing half-written."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_run import change_recipe, make_backbone, make_cells, make_run, recipe_for, tensors_of

from hyperformer_cli.data.loading import load_splits
from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.export.export_run import export_run
from hyperformer_cli.export.source import ExportSource, open_source
from hyperformer_cli.export.static import static_export
from hyperformer_cli.export.verification import TaskComparison
from hyperformer_cli.observer import Observer
from hyperformer_cli.runs.opened import OpenedRun


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    return make_backbone(tmp_path / "tiny-t5")


@pytest.fixture
def run(recipe_values: dict, backbone: Path, tmp_path: Path) -> Path:
    return make_run(recipe_for(recipe_values, backbone), tmp_path / "run")


def test_real_rows_are_compared_where_there_are_any(run: Path, data_folder: Path) -> None:
    source = open_source(OpenedRun(run), ["mrpc"], examples=5)
    assert list(source.tasks) == ["mrpc"] and not source.model.training
    samples = source.samples["mrpc"].batch
    task = source.tasks["mrpc"]
    split = load_splits(source.run.recipe, [task], "validation", source.run.tokenization)["mrpc"]
    for row in range(5):
        found = samples["input_ids"][row][samples["attention_mask"][row].bool()]
        assert found.tolist() == split.input_ids(row).tolist()
        assert samples["labels"][row].tolist() == split.target_ids(row).tolist()
    assert len(samples["labels"]) == 5 and "5 rows" in source.samples["mrpc"].origin
    change_recipe(run, lambda recipe: recipe["data"].update(source=str(data_folder / "nowhere")))
    generated = open_source(OpenedRun(run), ["mrpc"]).samples["mrpc"]
    assert "generated" in generated.origin and generated.batch["input_ids"].shape[0] == 4


class Lines(Observer):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def reported(self, line: str) -> None:
        self.lines.append(line)


def spoil(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    file = folder / "adapters" / "mrpc.safetensors"
    tensors = tensors_of(file)
    name = "decoder.1.feed_forward.post_norm_shift"
    save_file({**tensors, name: change(tensors[name])}, file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor + 0.01, "task 'mrpc' differs by 0"),
        (lambda tensor: tensor * float("nan"), "task 'mrpc' differs by inf"),
    ],
)
def test_an_export_that_computes_something_else_is_not_kept(
    change: Callable, message: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = static_export.write

    def write(source: ExportSource, folder: Path) -> None:
        right(source, folder)
        spoil(folder, change)

    monkeypatch.setattr(static_export, "write", write)
    before = set(run.rglob("*"))
    heard = Lines()
    with pytest.raises(HyperformerError, match=message) as raised:
        export_run(run, "static", observer=heard)
    assert raised.value.exit_code == 1 and [line.split(":")[0] for line in heard.lines] == ["cola", "mrpc", "stsb"]
    assert set(run.rglob("*")) == before


def test_other_greedy_tokens_alone_fail_an_export(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(source: ExportSource, folder: Path) -> list[TaskComparison]:
        return [TaskComparison(task, 0.0, False, "nothing") for task in source.tasks]

    monkeypatch.setattr(static_export, "verify", verify)
    with pytest.raises(HyperformerError, match="decodes other tokens"):
        export_run(run, "static")
    assert not (run / "export").exists()


def test_an_interrupted_export_leaves_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(source: ExportSource, folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setattr(static_export, "write", write)
    before = set(run.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        export_run(run, "static")
    assert set(run.rglob("*")) == before


def test_a_folder_that_is_there_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="taken exists"):
        export_run(run, "static", tmp_path / "taken")
    assert not list((tmp_path / "taken").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        export_run(run, "static", tmp_path / "file" / "static")


def _remove_weights(run: Path) -> None:
    shutil.rmtree(run / "best")


def _truncate(run: Path) -> None:
    file = run / "best" / "hyperformer.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _remove_tokenizer(run: Path) -> None:
    for file in (run / "best").glob("tokenizer*"):
        file.unlink()


def _replace_backbone(**changes: int) -> Callable[[Path], None]:
    return lambda run: make_backbone(run.parent / "tiny-t5", **changes) and None


def _retrain_backbone(run: Path) -> None:
    file = run.parent / "tiny-t5" / "model.safetensors"
    save_file({name: tensor * 1.5 for name, tensor in tensors_of(file).items()}, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove_weights, "no best/ weights"),
        (_truncate, r"hyperformer\.safetensors: missing or damaged"),
        (_remove_tokenizer, "no tokenizer"),
        (_replace_backbone(d_ff=48), "another configuration"),
        (_retrain_backbone, "frozen weights are not those"),
        (lambda run: shutil.rmtree(run.parent / "tiny-t5"), "there is no such folder"),
        (lambda run: (run / "recipe.yaml").unlink(), "not a run folder"),
    ],
)
def test_what_cannot_be_opened_is_explained(damage: Callable, message: str, run: Path) -> None:
    damage(run)
    with pytest.raises(InputError, match=message):
        export_run(run, "static")
    assert not (run / "export").exists()


def test_unknown_formats_and_tasks_are_refused(run: Path, recipe_values: dict, backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'static'"):
        export_run(run, "statik")
    with pytest.raises(InputError, match="did you mean 'mrpc'"):
        export_run(run, "static", tasks=["mrcp"])
    cells = make_cells(recipe_for(recipe_values, backbone, "adapters"), tmp_path / "cells")
    with pytest.raises(InputError, match="did you mean 'mrpc'"):
        export_run(cells, "static", tasks=["mrcp"])
    with pytest.raises(InputError, match=r"one model per task; give one of them, such as .*task=cola"):
        open_source(OpenedRun(cells))


def test_inputs_are_documented_with_the_prefix_that_tells_tasks_apart(
    recipe_values: dict, backbone: Path, tmp_path: Path
) -> None:
    run = make_run(recipe_for(recipe_values, backbone, "adapters", shared_by_tasks=True), tmp_path / "shared")
    for format in ("static", "adapterhub", "onnx", "hub"):
        folder = export_run(run, format, tmp_path / format, ["cola"] if format != "hub" else None).folder
        texts = [file.read_text() for file in folder.rglob("*") if file.suffix in (".md", ".json")]
        said = [line for text in texts for line in text.splitlines() if "sentence: " in line]
        assert said and all("cola sentence: " in line for line in said), format


def test_what_a_killed_export_left_is_removed_by_the_next(run: Path, tmp_path: Path) -> None:
    host = os.uname().nodename.replace(".", "-")
    with subprocess.Popen(["true"]) as ended:
        pass
    dead, alive = (tmp_path / f".static.{host}.{pid}.tmp" for pid in (ended.pid, os.getppid()))
    elsewhere = tmp_path / f".static.another-host.{ended.pid}.tmp"
    for folder in (dead, alive, elsewhere):
        (folder / "adapters").mkdir(parents=True)
    export_run(run, "static", tmp_path / "static")
    assert not dead.exists() and alive.exists() and elsewhere.exists()
