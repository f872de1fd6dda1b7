"""What may happen to a run's data, backbone and files between two starts: put right, or named; never trained over."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_runs import assert_same_run, kept_run, largest_difference, train, weights
from transformers import T5Config, T5ForConditionalGeneration

from hyperformer_cli.backbones import identity
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.evaluation.evaluate_run import evaluate_run
from hyperformer_cli.observer import Observer
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.storage.manifest import write_manifest


def flip(file: Path, place: int = -1) -> None:
    """Flips a bit where the file is."""
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


class Said(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def reported(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_data_that_changed_before_a_resume_are_refused(
    split: str, recipe_values: dict, data_folder: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(data_folder, tmp_path / "data")
    run = kept_run(recipe_values, tmp_path / "r", 5, data={"source": str(source)})
    file = source / "stsb" / f"{split}.csv"
    before = file.read_text()
    file.write_text(before.replace(",0.0,", ",5.0,", 1) if ",0.0," in before else before.replace("cat", "dog", 1))
    assert file.read_text() != before
    with pytest.raises(InputError, match=rf"checkpoint-5: the data of task 'stsb' for {split} have changed"):
        train(recipe_values, run, data={"source": str(source)})
    file.write_text(before)  # put back, it goes on
    assert train(recipe_values, run, data={"source": str(source)}) == run


@pytest.fixture
def local(recipe_values: dict, tmp_path: Path) -> dict[str, Any]:
    """The recipe over a backbone in a folder."""
    save_backbone(tmp_path / "t5", seed=0)
    return {
        **recipe_values,
        "model": {"name": str(tmp_path / "t5"), "tokenizer": recipe_values["model"]["tokenizer"]},
    }


def save_backbone(folder: Path, seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    shape = {"vocab_size": 320, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
    T5ForConditionalGeneration(T5Config(**shape, decoder_start_token_id=0)).save_pretrained(folder)


def test_a_backbone_that_changed_before_a_resume_is_refused(local: dict, tmp_path: Path) -> None:
    run = kept_run(local, tmp_path / "r", 5)
    shutil.copytree(tmp_path / "t5", tmp_path / "kept")
    save_backbone(tmp_path / "t5", seed=1)
    with pytest.raises(InputError, match=r"checkpoint-5: the frozen weights of model '\S+t5' are not those it was"):
        train(local, run)
    shutil.copytree(tmp_path / "kept", tmp_path / "t5", dirs_exist_ok=True)
    assert_same_run(kept_run(local, tmp_path / "whole"), train(local, run))


def test_a_backbone_that_changed_after_training_is_refused(local: dict, tmp_path: Path) -> None:
    run = train(local, tmp_path / "r")
    evaluate_run(OpenedRun(run), ["test"])
    flip(tmp_path / "t5" / "model.safetensors", -4000)
    with pytest.raises(InputError, match="frozen weights are not those it was trained on"):
        evaluate_run(OpenedRun(run), ["test"])


def test_an_unchanged_backbone_is_hashed_once(local: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    plain = identity.frozen_hash
    monkeypatch.setattr(identity, "frozen_hash", lambda backbone: (hashed.append(1), plain(backbone))[1])
    run = train(local, tmp_path / "r")
    for _ in range(2):
        OpenedRun(run).model  # noqa: B018
        OpenedRun(run, backbone=tmp_path / "t5").model  # noqa: B018
    train(local, tmp_path / "again")
    assert len(hashed) == 1
    (tmp_path / "t5" / "model.safetensors").touch()
    OpenedRun(run).model  # noqa: B018
    assert len(hashed) == 2


@pytest.mark.parametrize("step", [8, 12])  # the best weights so far are those of step 6; or of the checkpoint, maybe
@pytest.mark.parametrize("damage", ["folder", "weights", "flip", "unverified"])
def test_best_is_restored_from_the_checkpoint(damage: str, step: int, recipe_values: dict, tmp_path: Path) -> None:
    whole = kept_run(recipe_values, tmp_path / "whole")
    run, said = kept_run(recipe_values, tmp_path / "cut", step), Said()
    best = run / "best" / "hyperformer.safetensors"
    if damage == "folder":
        shutil.rmtree(run / "best")
    elif damage == "weights":
        best.unlink()
    else:
        flip(best)
        if damage == "unverified":
            (run / "best" / "manifest.json").unlink()
    assert_same_run(whole, train(recipe_values, run, said))
    assert said.lines == [f"restored {run / 'best'} from checkpoint-{step}"]
    OpenedRun(run).model  # noqa: B018


def test_best_weights_of_a_later_step_are_not_kept(recipe_values: dict, tmp_path: Path) -> None:
    """A run that was killed between an evaluation and the next checkpoint has another best/ than its checkpoint."""
    values = {**recipe_values, "evaluation": {"every": 2, "batch_size": 16}}
    values["training"] = {**recipe_values["training"], "learning_rate": 1e-9}  # the first evaluation is the best
    run = kept_run(values, tmp_path / "cut", 4)
    held = weights(run, "best")
    later = kept_run(values, tmp_path / "later", 5, training={"learning_rate": 0.1})
    shutil.rmtree(run / "best")
    shutil.copytree(later / "best", run / "best")
    assert largest_difference(weights(run, "best"), held) > 1e-3
    assert_same_run(train(values, tmp_path / "whole"), train(values, run))


def test_best_that_goes_while_a_run_trains_is_named_and_restored(recipe_values: dict, tmp_path: Path) -> None:
    class Remove(Observer):
        def stepped(self, step: int) -> None:
            if step == 11:
                shutil.rmtree(tmp_path / "r" / "best")

    values = {**recipe_values, "training": {**recipe_values["training"], "learning_rate": 1e-9}}  # the first is best
    with pytest.raises(HyperformerError, match=r"best/hyperformer\.safetensors has gone; start again"):
        train(values, tmp_path / "r", Remove())
    assert_same_run(train(values, tmp_path / "whole"), train(values, tmp_path / "r"))


@pytest.mark.parametrize("line", [b"{}", b"null", b"[1]", b'{"step": 3, "l\xffss": 1}', b'{"step": "3"}'])
def test_damaged_lines_of_metrics_do_not_end_a_run(line: bytes, recipe_values: dict, tmp_path: Path) -> None:
    whole = kept_run(recipe_values, tmp_path / "whole")
    run, said = kept_run(recipe_values, tmp_path / "cut", 8), Said()
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(line + b"\n" + metrics.read_bytes())
    assert_same_run(whole, train(recipe_values, run, said))
    assert said.lines == [f"removed 1 damaged lines from {metrics}"]


@pytest.mark.parametrize("content", [b"{}", b"null", b"[1]", b'{"results": [1], "average": {}}', b"\xff", "flip"])
def test_damaged_results_are_made_again(content: bytes | str, recipe_values: dict, tmp_path: Path) -> None:
    run, said = kept_run(recipe_values, tmp_path / "r"), Said()
    file = run / "results.json"
    before = json.loads(file.read_text())
    if isinstance(content, bytes):
        (run / "manifest.json").unlink()  # as in a run of an earlier release
        file.write_bytes(content)
    else:
        text = file.read_text()
        file.write_text(text.replace('"examples": 12', '"examples": 13', 1))
        assert file.read_text() != text
    with pytest.raises(InputError, match=r"results\.json: .*damaged"):
        RunFolder(run).results()
    train(recipe_values, run, said)
    assert any("results.json is damaged" in line for line in said.lines)
    assert {k: v for k, v in RunFolder(run).results().items() if k != "seconds"} == {
        k: v for k, v in before.items() if k != "seconds"
    }


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "empty folder"])
@pytest.mark.parametrize("step", [4, 99])
def test_strays_named_like_a_checkpoint(kind: str, step: int, recipe_values: dict, tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "r", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("kept")
    run.mkdir()
    stray = run / f"checkpoint-{step}"
    make: dict[str, Callable[[], Any]] = {
        "file": lambda: stray.write_text("x"),
        "link": lambda: stray.symlink_to(elsewhere),
        "dangling": lambda: stray.symlink_to(tmp_path / "nowhere"),
        "empty folder": lambda: stray.mkdir(),
    }
    make[kind]()
    assert_same_run(kept_run(recipe_values, tmp_path / "whole"), train(recipe_values, run))
    assert (elsewhere / "kept").read_text() == "kept"


@pytest.mark.parametrize("name", ["recipe.yaml", "metrics.jsonl", "results.json", "environment.json"])
def test_folders_in_the_place_of_a_runs_files(name: str, recipe_values: dict, tmp_path: Path) -> None:
    (tmp_path / "r" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=rf"{name}: not a file; remove it"):
        train(recipe_values, tmp_path / "r")
    with pytest.raises(InputError, match=r"best: not a folder; remove it"):
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / "best").write_text("")
        train(recipe_values, tmp_path / "s")


def test_a_tokenizer_without_its_settings_is_refused(
    recipe_values: dict, tokenizer_folder: Path, tmp_path: Path
) -> None:
    run = kept_run(recipe_values, tmp_path / "r")
    (run / "best" / "tokenizer_config.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer_config\.json: missing or damaged"):
        OpenedRun(run).tokenizer  # noqa: B018
    (run / "best" / "manifest.json").unlink()
    with pytest.raises(
        InputError, match=r"best: the tokenizer has no end-of-sequence token; is tokenizer_config\.json"
    ):
        OpenedRun(run).tokenizer  # noqa: B018
    bare = shutil.copytree(tokenizer_folder, tmp_path / "bare")
    (bare / "tokenizer_config.json").unlink()
    model = {**recipe_values["model"], "tokenizer": str(bare)}
    with pytest.raises(InputError, match=r"no end-of-sequence token"):
        train(build_recipe({**recipe_values, "model": model}).as_dict(), tmp_path / "x")


def test_a_hash_that_changed_in_the_cache_is_not_recorded(
    local: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERFORMER_CACHE", str(tmp_path / "cache"))
    recorded = lambda run: json.loads((run / "best" / "hyperformer.json").read_text())["backbone"]  # noqa: E731
    first = recorded(train(local, tmp_path / "first"))
    entry = next((tmp_path / "cache" / "frozen").iterdir())
    digit = "0" if first["frozen_sha256"][0] != "0" else "1"
    entry.write_text(entry.read_text().replace(first["frozen_sha256"], digit + first["frozen_sha256"][1:]))
    assert recorded(train(local, tmp_path / "second")) == first
    entry.write_text("[" * 200_000)
    assert recorded(train(local, tmp_path / "third")) == first


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: state["run"].update(of_a_later_release=1), "not a checkpoint that this release can continue"),
        (
            lambda state: state.pop("optimizer"),
            r"this release can continue .KeyError: 'optimizer'",
        ),
        (lambda state: state.update(data=[]), "not a checkpoint that this release can continue"),
        (lambda state: state["run"].update(step=4), "checkpoint-5: holds step 4"),
    ],
)
def test_a_whole_checkpoint_of_something_else(
    change: Callable, complaint: str, recipe_values: dict, tmp_path: Path
) -> None:
    run = kept_run(recipe_values, tmp_path / "r", 5)
    file = run / "checkpoint-5" / "state.json"
    state = json.loads(file.read_text())
    change(state)
    file.write_text(json.dumps(state))
    write_manifest(file.parent)
    with pytest.raises(InputError, match=complaint):
        train(recipe_values, run)
