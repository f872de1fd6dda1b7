"""Embeddings beside a PCA by eigenvectors and a slow cosine; figures hold what they should."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_fewshot, write_run
from safetensors.numpy import save_file

from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting import plots
from hyperformer_cli.reporting.collect import FewShot, collect
from hyperformer_cli.reporting.embeddings import (
    TaskEmbeddings,
    nearest_neighbours,
    principal_components,
    read_embeddings,
)
from hyperformer_cli.reporting.groups import Group, group_runs
from hyperformer_cli.reporting.table import Table
from hyperformer_cli.reporting.tables import build_tables


def with_embeddings(run: Path, vectors: np.ndarray) -> Path:
    (run / "best").mkdir()
    save_file({"bank.task_embedding": vectors.astype(np.float32)}, run / "best" / "hyperformer.safetensors")
    return run


def read(*runs: Path) -> list[TaskEmbeddings]:
    found = collect(runs)
    return read_embeddings(group_runs(found.runs)[0], found.fewshot)


def test_principal_components_are_the_eigenvectors_of_the_covariance() -> None:
    vectors = np.random.default_rng(0).normal(size=(8, 64))
    coordinates, shares = principal_components(vectors)
    variances, directions = np.linalg.eigh(np.cov(vectors.T))
    slow = (vectors - vectors.mean(axis=0)) @ directions[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(coordinates), np.abs(slow), atol=1e-9)
    np.testing.assert_allclose(shares, variances[[-1, -2]] / variances.sum(), atol=1e-12)
    two, shares = principal_components(vectors[:2])
    assert abs(two[0, 0] - two[1, 0]) == pytest.approx(np.linalg.norm(vectors[0] - vectors[1]))
    assert shares[0] == pytest.approx(1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(2, 64), (1, 64), (5, 1)])
def test_components_that_do_not_exist_are_zero(shape: tuple[int, int]) -> None:
    for vectors in (np.full(shape, 0.1), np.zeros(shape)):  # equal ones have no variance
        coordinates, shares = principal_components(vectors)
        assert coordinates.shape == (shape[0], 2) and not coordinates.any() and not shares.any()
    coordinates, shares = principal_components(np.arange(np.prod(shape), dtype=float).reshape(shape))
    assert np.abs(coordinates[:, 1]).max() < 1e-9 and shares == pytest.approx([float(shape[0] > 1), 0])


def test_a_zero_vector_is_similar_to_none() -> None:
    vectors = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    found = nearest_neighbours(TaskEmbeddings("run", Path("run"), ("zero", "one", "two"), 0, vectors))
    assert [near["cosine"] for near in found[0]["nearest"]] == [0, 0]
    assert found[1]["nearest"] == [{"task": "two", "cosine": 1}, {"task": "zero", "cosine": 0}]
    (alone,) = nearest_neighbours(TaskEmbeddings("run", Path("run"), ("one",), 0, vectors[1:2]))
    assert alone["nearest"] == []


def test_neighbours_are_the_nearest_by_cosine(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(8, 64)).astype(np.float32)
    run = with_embeddings(write_run(tmp_path / "run", "glue_hyperpp"), vectors)
    target = (vectors[2] * 3 + 0.01).tolist()
    write_fewshot(run, {("paws", 16): [60.0, 61.0], ("paws", 4): [50.0]}, embedding=target)
    (own,) = read(run)
    assert own.tasks[-1] == "paws" and own.targets == 1 and own.is_target(8) and not own.is_target(7)
    np.testing.assert_allclose(own.vectors[-1], 16 * np.array(target))  # most examples, first seed

    (run / "fewshot" / "paws" / "4-shot" / "seed-1.json").write_text('{"format')  # one that was cut off is as none
    assert read(run)[0].tasks == own.tasks

    found = {task["task"]: task for task in nearest_neighbours(own)}
    assert found["paws"]["target"] and found["paws"]["nearest"][0]["task"] == own.tasks[2]
    for i, task in enumerate(own.tasks):
        slow = {
            other: np.dot(a := own.vectors[i], b := own.vectors[j]) / np.sqrt((a * a).sum() * (b * b).sum())
            for j, other in enumerate(own.tasks)
            if j != i
        }
        best = sorted(slow, key=slow.get, reverse=True)[:3]
        assert [near["task"] for near in found[task]["nearest"]] == best
        assert [near["cosine"] for near in found[task]["nearest"]] == pytest.approx([slow[t] for t in best], abs=1e-4)


def test_runs_without_task_embeddings_have_none(tmp_path: Path) -> None:
    assert read(write_run(tmp_path / "a", "glue_adapters_dagger"), write_run(tmp_path / "b", "glue_hyperpp")) == []
    run = with_embeddings(write_run(tmp_path / "c", "glue_hyperpp"), np.ones((7, 64)))
    with pytest.raises(InputError, match="7 task embeddings for 8 tasks"):
        read(run)
    (run / "best" / "hyperformer.safetensors").write_bytes(b"short")
    with pytest.raises(InputError, match="damaged"):
        read(run)


def everything(folder: Path) -> list[Path]:
    """Runs that allow every figure."""
    rng = np.random.default_rng(3)
    run = with_embeddings(write_run(folder / "run", "glue_hyperpp"), rng.normal(size=(8, 64)))
    write_fewshot(run, {("paws", n): rng.uniform(50, 90, 3).tolist() for n in (4, 16)}, rng.normal(size=64).tolist())
    curve = [
        write_run(folder / f"{n}-{s}", "glue_t5_dagger", f"data.samples_per_task={n}", f"seed={s}", values=50.0 + s)
        for n in (100, 500)
        for s in (1, 2)
    ]
    return [run, *curve]


def report_on(runs: list[Path]) -> tuple[list[Table], list[Group], tuple[FewShot, ...]]:
    found = collect(runs)
    groups, _ = group_runs(found.runs)
    return build_tables(groups, found.fewshot, "test"), groups, found.fewshot


def draw(runs: list[Path], folder: Path, plot_format: str) -> list[Path]:
    tables, groups, fewshot = report_on(runs)
    return plots.write_plots(tables, groups, fewshot, folder, plot_format)


def test_every_figure_is_written_in_both_formats(tmp_path: Path) -> None:
    runs = everything(tmp_path / "runs")
    names = ["low-resource", "few-shot", "training", "validation", "embeddings"]
    drawn = draw(runs, tmp_path / "figures", "svg")
    assert drawn == [tmp_path / "figures" / f"{name}.svg" for name in names]
    texts = {path.stem: "".join(ElementTree.parse(path).getroot().itertext()) for path in drawn}
    for name, parts in {
        "low-resource": ["T5-dagger BASE", "mean of 11 metrics, test (%)", "training examples per task"],
        "few-shot": ["paws", "HyperFormer++ BASE", "accuracy (%)", "majority"],
        "training": ["cola", "optimizer step", "HyperFormer++ BASE"],
        "validation": ["mrpc", "accuracy (%)", "optimizer step", "HyperFormer++ BASE"],
        "embeddings": ["mnli", "paws", "few-shot target", "of the variance"],
    }.items():
        assert all(part in texts[name] for part in parts), name
    first = {path: path.read_bytes() for path in drawn}
    draw(runs, tmp_path / "figures", "svg")
    assert all(path.read_bytes() == content for path, content in first.items())

    (image,) = [path for path in draw(runs[1:], tmp_path / "images", "png") if path.stem == "low-resource"]
    assert image.read_bytes().startswith(b"\x89PNG")
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == ["low-resource.png", "training.png", "validation.png"]


def test_curves_are_the_tables_means_and_deviations(tmp_path: Path) -> None:
    from hyperformer_cli.reporting.figures import draw_few_shot, draw_low_resource, draw_training

    tables, groups, (fewshot,) = report_on(everything(tmp_path))
    (axes,) = draw_low_resource(tables).axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[100, 51.5], [500, 51.5]])
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (pytest.approx(51.5 - 0.5**0.5), pytest.approx(51.5 + 0.5**0.5))

    (axes,) = draw_few_shot(tables).axes
    means = [np.mean(score.values) for score in fewshot.scores]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), means)
    panels = draw_training(groups).axes
    assert len(panels) == 8 and len(panels[0].lines) == 1
    np.testing.assert_allclose(panels[0].lines[0].get_xdata(), [100, 200, 300])


def test_curves_over_other_metrics_have_a_panel_of_their_own(tmp_path: Path) -> None:
    from hyperformer_cli.reporting.figures import draw_low_resource

    few = ("tasks=[cola,mrpc]",)
    runs = [
        write_run(tmp_path / f"{number}-{size}", "glue_t5_dagger", f"data.samples_per_task={size}", *changes)
        for number, changes in enumerate(((), few))
        for size in (100, 500)
    ]
    runs.append(write_run(tmp_path / "all", "glue_t5_dagger", *few))  # has no place on the axis
    panels = draw_low_resource(report_on(runs)[0]).axes
    assert [len(panel.lines[0].get_xdata()) for panel in panels] == [2, 2]
    assert [panel.get_ylabel() for panel in panels] == ["mean of 11 metrics, test (%)", "mean of 3 metrics, test (%)"]


def test_a_figure_that_cannot_be_drawn_leaves_nothing(tmp_path: Path) -> None:
    runs = everything(tmp_path / "runs")
    with (runs[0] / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "traini')  # cut off while it was written
    draw(runs, tmp_path / "before", "png")
    with (runs[0] / "metrics.jsonl").open("a") as file:
        file.write("ng}\n")
    with pytest.raises(InputError, match=r"metrics.jsonl:6: damaged"):
        draw(runs, tmp_path / "figures", "png")
    assert not (tmp_path / "figures").exists()

    (bare := write_run(tmp_path / "bare", "glue_t5_dagger") / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="nothing to draw"):
        draw([bare.parent], tmp_path / "figures", "png")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        draw([runs[1]], tmp_path / "file" / "figures", "png")


def test_tasks_trained_each_alone_are_drawn_from_their_own_folders(tmp_path: Path) -> None:
    from hyperformer_cli.reporting.training_curves import training_losses

    run = write_run(tmp_path, "glue_adapters", "tasks=[cola,rte]")
    (run / "metrics.jsonl").unlink()
    for number, task in enumerate(("cola", "rte")):
        cell = tmp_path / "cells" / f"task={task}"
        cell.mkdir(parents=True)
        line = {"kind": "training", "step": 10, "loss": 1, "loss_by_task": {task: number}}
        (cell / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    assert training_losses(collect([run]).runs[0]) == {"cola": ([10], [0.0]), "rte": ([10], [1.0])}
