"""Hub folders: a card that the hub can read, code that runs, no path of this machine, and an upload when asked."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import Hub, connected_hub
from huggingface_hub import ModelCard
from small_run import (
    TASKS,
    change_recipe,
    documented_code,
    logits_of,
    make_backbone,
    make_cells,
    make_run,
    read_json,
    recipe_for,
    run_code,
    text_of,
)
from transformers import T5ForConditionalGeneration

from hyperformer_cli import AdaptedModel
from hyperformer_cli.config.loading import build_recipe, load_recipe
from hyperformer_cli.errors import HyperformerError, InputError
from hyperformer_cli.export.export_run import export_run
from hyperformer_cli.export.hub.without_paths import published_recipe, published_tokenizer_settings


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    return make_backbone(tmp_path / "models" / "tiny-t5")


@pytest.fixture
def run(recipe_values: dict, backbone: Path, tmp_path: Path) -> Path:
    return make_run(recipe_for(recipe_values, backbone), tmp_path / "outputs" / "tiny")


def test_the_folder_holds_the_model_and_no_paths(
    run: Path, backbone: Path, tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nearby = os.path.relpath(data_folder)  # a path says as much of a machine when it is relative
    change_recipe(run, lambda recipe: recipe["data"].update(source=nearby))
    folder = export_run(run, "hub", tmp_path / "hub").folder
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "hyperformer.json", "hyperformer.safetensors", "manifest.json", "recipe.yaml", "results.json",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    text = text_of(folder)
    for path in (tmp_path, nearby, data_folder, data_folder.parent, Path.home(), Path.cwd()):
        assert str(path) not in text
    recipe = load_recipe(folder / "recipe.yaml")
    assert (recipe.model.name, recipe.data.source) == ("tiny-t5", data_folder.name)
    assert read_json(folder / "hyperformer.json")["backbone"]["name"] == "tiny-t5"
    trained = AdaptedModel.from_pretrained(run / "best").eval()
    given = T5ForConditionalGeneration.from_pretrained(backbone)
    pushed = AdaptedModel.from_pretrained(folder, given).eval()
    for task in TASKS:
        assert (logits_of(pushed, task=task) - logits_of(trained, task=task)).abs().max() <= 1e-6
    code = documented_code(folder / "README.md")
    assert "path/to/tiny-t5" in code and "a local model, `tiny-t5`" in text
    monkeypatch.chdir(folder)
    ran = run_code(code.replace("path/to/tiny-t5", str(backbone)))
    expected = trained.generate(**ran["inputs"], task="cola", max_new_tokens=ran["ids"].shape[1] - 1)
    assert ran["ids"].tolist() == expected.tolist()


def test_the_card_says_what_the_hub_wants_to_know(run: Path) -> None:
    card = ModelCard.load(export_run(run, "hub").folder / "README.md")
    data = card.data.to_dict()
    assert (data["library_name"], data["license"], data["datasets"]) == ("hyperformer", "other", ["nyu-mll/glue"])
    assert set(data["metrics"]) == {"accuracy", "f1", "matthews_correlation", "pearsonr", "spearmanr"}
    assert "base_model" not in data and "hyperformer++" in data["tags"]
    found = {(r.dataset_config, r.metric_type, r.metric_value, r.dataset_split) for r in card.data.eval_results}
    assert found == {
        ("cola", "matthews_correlation", 12.34, "test"),
        ("mrpc", "accuracy", 12.34, "test"),
        ("stsb", "pearsonr", 12.34, "test"),
    }
    for part in ("| mrpc | accuracy | 12.34 | 5.67 | 12 |", "| average | | 12.34 |", "majority", "2021.acl-long.47",
                 "## Licence", "0 (not_equivalent), 1 (equivalent)"):  # fmt: skip
        assert part in card.text


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ({"method": "adapters"}, "Adapters, one per task and site. Trained on 3 tasks at once: cola, mrpc, stsb."),
        ({"method": "adapters", "adapter_blocks": False}, "The backbone's layer norms, and nothing else. Trained on"),
        ({"method": "adapters", "shared_by_tasks": True}, "Adapters, one per site, shared by all tasks. Trained on"),
    ],
    ids=["adapters", "norms-only", "shared"],
)
def test_the_card_says_what_was_trained(
    adapter: dict[str, Any], said: str, recipe_values: dict, backbone: Path, tmp_path: Path
) -> None:
    run = make_run(recipe_for(recipe_values, backbone, **adapter), tmp_path / "run", evaluated=False)
    assert said in (export_run(run, "hub").folder / "README.md").read_text()


def test_a_published_backbone_is_the_cards_base_model(
    recipe_values: dict, tokenizer_folder: Path, tmp_path: Path
) -> None:
    values = recipe_for(recipe_values, Path("google-t5/t5-small"))
    values["model"] |= {"init": "random", "config": recipe_values["model"]["config"]}
    run = make_run(values, tmp_path / "run", evaluated=False)
    card = ModelCard.load(export_run(run, "hub").folder / "README.md")
    assert (card.data.base_model, card.data.license) == ("google-t5/t5-small", "apache-2.0")
    assert card.data.eval_results is None and "Not evaluated yet" in card.text


def test_the_code_of_a_bundled_run_works_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "name": "nano",
        "model": {"name": "bundled"},
        "adapter": {"method": "hyperformer++", "reduction_factor": 4},
        "tasks": ["mini_rte"],
        "data": {"source": "bundled"},
    }
    run = make_run(values, tmp_path / "run", evaluated=False)
    for format in ("hub", "static"):
        report = export_run(run, format)
        assert report.tasks[0].difference <= 1e-6 and "16 rows" in report.tasks[0].inputs
        monkeypatch.chdir(report.folder)
        assert run_code(documented_code(Path("README.md")))["ids"].shape[0] == 1


def test_only_the_whole_model_of_a_joint_run_is_published(
    run: Path, recipe_values: dict, backbone: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--tasks"):
        export_run(run, "hub", tasks=["mrpc"])
    cells = make_cells(recipe_for(recipe_values, backbone, "adapters"), tmp_path / "cells")
    with pytest.raises(InputError, match=r"one model per task; give one of them, such as .*task=cola"):
        export_run(cells, "hub")
    assert export_run(cells / "cells" / "task=cola", "hub").tasks[0].difference <= 1e-6


def test_finetuned_models_are_published(recipe_values: dict, backbone: Path, tmp_path: Path) -> None:
    run = make_run(recipe_for(recipe_values, backbone, "finetune"), tmp_path / "run")
    report = export_run(run, "hub")
    assert max(task.difference for task in report.tasks) <= 1e-6
    assert "`cola sentence: {sentence}`" in (report.folder / "README.md").read_text()


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with connected_hub(monkeypatch, tmp_path) as server:
        monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
        yield server


def test_a_folder_is_pushed_when_asked(run: Path, loopback: Hub) -> None:
    report = export_run(run, "hub", push_to="someone/glue")
    assert report.pushed_to == f"{loopback.endpoint}/someone/glue"
    pushed = loopback.repositories["model", "someone/glue"].revisions["main"]
    assert pushed == {path.name: path.read_bytes() for path in report.folder.iterdir()}


@pytest.mark.parametrize("fault", ["401", "403"])
def test_a_refused_push_keeps_the_folder(fault: str, run: Path, loopback: Hub) -> None:
    with (
        loopback.failing(fault, only="/api/repos/create"),
        pytest.raises(HyperformerError, match=rf"not pushed to someone/glue: .*answered {fault}.*hf upload") as raised,
    ):
        export_run(run, "hub", push_to="someone/glue")
    assert raised.value.exit_code == 1 and (run / "export" / "hub" / "README.md").is_file()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("401", "answered 401"),
        ("503", "answered 503"),
        ("reset", "cannot be reached"),
        pytest.param("hang", "cannot be reached", marks=pytest.mark.slow),  # two minutes of waiting
    ],
)
def test_a_hub_that_will_not_take_it_is_noticed_before_the_export(
    fault: str, message: str, run: Path, loopback: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback.failing(fault), pytest.raises(InputError, match=f"--push-to someone/glue: .*{message}"):
        export_run(run, "hub", push_to="someone/glue")
    assert not (run / "export").exists()


def test_pushing_needs_a_token(run: Path, loopback: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match=r"--push-to someone/glue: no token; log in"):
        export_run(run, "hub", push_to="someone/glue")
    assert not (run / "export").exists()


def test_a_push_that_cannot_happen_fails_before_the_export(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    for format, name, message in (
        ("hub", "someone/glue", "hub cannot be reached"),
        ("hub", "glue", "owner/name"),
        ("hub", "some one/glue", "--push-to some one/glue"),
        ("static", "someone/glue", "only --format hub"),
    ):
        with pytest.raises(InputError, match=message):
            export_run(run, format, push_to=name)
    assert not (run / "export").exists()


def test_paths_lose_their_folders_and_texts_nothing(tmp_path: Path, recipe_values: dict, backbone: Path) -> None:
    own = {
        "name": "forum",
        "files": {split: str(tmp_path / "forum" / f"{split}.csv") for split in ("train", "test")},
        "template": "/title {title} /text {text}",
        "labels": {"a": "/r/politics", "b": "~/home"},
    }
    gone = {**recipe_for(recipe_values, tmp_path / "gone" / "t5"), "tasks": [own]}
    found = published_recipe(build_recipe(gone)).as_dict()
    assert found["tasks"][0]["files"] == {"train": "train.csv", "test": "test.csv"}
    assert {key: found["tasks"][0][key] for key in ("template", "labels")} == {
        key: own[key] for key in ("template", "labels")
    }
    assert found["model"]["name"] == "t5" and str(tmp_path) not in yaml.safe_dump(found)
    settings = {"name_or_path": "/models/t5", "tokenizer_file": None, "eos_token": "/s", "model_max_length": 3}
    assert published_tokenizer_settings(settings) == {**settings, "name_or_path": "t5"}
