"""`report --controls`: exchanged and random task vectors, and the runs that have none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.reporting.collect import Run, collect
from hyperformer_cli.reporting.controls import (
    EXCHANGED,
    RANDOM,
    TRAINED,
    _vectors,
    derangement,
    random_vectors,
    run_controls,
)
from hyperformer_cli.training.train_recipe import train_recipe

FORMS = {"bottleneck": {"reduction_factor": 4}, "lora": {"form": "lora", "rank": 4}}


def train(values: dict[str, Any], **changes: Any) -> Path:
    training = {**values["training"], "max_steps": 2, "save_every": 2}
    return train_recipe(build_recipe({**values, "tasks": ["cola", "mrpc"], "training": training, **changes})).path


def report(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments), "--controls"])


def read(folder: Path) -> Run:
    return collect([folder]).runs[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["hyperformer", "hyperformer-shared-layers", "hyperformer++"])
def test_a_run_is_scored_as_trained_and_with_other_vectors(
    method: str, form: str, recipe_values: dict[str, Any]
) -> None:
    run = train(
        recipe_values, adapter={"method": method, **FORMS[form]}, evaluation={"every": 2, "splits": ["validation"]}
    )
    before = (run / "best" / "hyperformer.safetensors").read_bytes()
    result = report(run, "--format", "json")
    assert result.exit_code == 0, result.output
    [table] = json.loads(result.stdout)["tables"]
    rows = {row["row"].rpartition("/")[2]: row["cells"] for row in table["rows"]}
    assert list(rows) == ["trained", "exchanged", "random", "most frequent answer"]
    for score in json.loads((run / "results.json").read_text())["results"]:
        assert rows["trained"][f"{score['task']}/{score['metric']}"]["mean"] == pytest.approx(score["value"], abs=1e-3)
    average, drop = "average/mean of metrics", "average/drop of the mean of metrics"
    assert drop not in rows["trained"]
    for kind in ("exchanged", "random"):
        assert rows[kind][drop]["mean"] == pytest.approx(rows["trained"][average]["mean"] - rows[kind][average]["mean"])
    assert (run / "best" / "hyperformer.safetensors").read_bytes() == before
    assert report(run, "--format", "json").stdout == result.stdout


def test_within_the_block_a_task_has_the_other_tasks_adapters(recipe_values: dict[str, Any]) -> None:
    model = AdaptedModel.from_pretrained(train(recipe_values) / "best")
    own = {task: model.adapter_tensors(task) for task in model.tasks}
    with _vectors(model.bank, model.bank.task_embedding.detach()[[1, 0]]):
        exchanged = {task: model.adapter_tensors(task) for task in model.tasks}
    for task, other in (("cola", "mrpc"), ("mrpc", "cola")):
        assert all(torch.equal(exchanged[task][name], own[other][name]) for name in own[task])
        assert all(torch.equal(model.adapter_tensors(task)[name], own[task][name]) for name in own[task])
        assert not all(torch.equal(exchanged[task][name], own[task][name]) for name in own[task])


def test_equal_vectors_can_be_exchanged_without_a_loss(recipe_values: dict[str, Any]) -> None:
    run = train(recipe_values)
    model = AdaptedModel.from_pretrained(run / "best")
    with torch.no_grad():
        model.bank.task_embedding.copy_(model.bank.task_embedding[:1].expand(2, -1))
    model.save_pretrained(run / "best")
    found = run_controls(read(run), "validation")
    assert found.scores[EXCHANGED] == found.scores[TRAINED]
    assert found.scores[RANDOM].keys() == found.scores[TRAINED].keys()


def test_no_task_keeps_its_vector_and_random_ones_are_as_long() -> None:
    generator = np.random.default_rng(0)
    drawn = {tuple(derangement(4, generator)) for _ in range(200)}
    assert len(drawn) == 9 and all(own[i] != i for own in drawn for i in range(4))  # 9 derangements of four
    vectors = torch.randn(5, 64) * torch.arange(1, 6).unsqueeze(1)
    found = random_vectors(vectors, generator)
    torch.testing.assert_close(found.norm(dim=1), vectors.norm(dim=1))
    assert torch.cosine_similarity(found, vectors).abs().max() < 0.6


def test_runs_without_vectors_are_refused_or_left_out(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    stored = train(recipe_values, adapter={"method": "adapters", "reduction_factor": 4}, output_dir=str(tmp_path / "a"))
    refused = report(stored)
    assert refused.exit_code == 2 and "method 'adapters' has no task vectors" in refused.output
    shared = train(recipe_values, output_dir=str(tmp_path / "b"))
    both = report(stored, shared)
    assert both.exit_code == 0 and "no task vectors; left out" in both.output and "exchanged" in both.stdout
    alone = train(recipe_values, joint=False, output_dir=str(tmp_path / "c"))
    assert "a model of its own" in report(alone).output
    assert report(shared, "--details").exit_code == 2
