"""Tables: means and deviations, groups of seeds, printed figures, curves, ablations."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_fewshot, write_run

from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting.collect import collect
from hyperformer_cli.reporting.groups import group_runs
from hyperformer_cli.reporting.table import Table, over_seeds
from hyperformer_cli.reporting.tables import build_tables

ROWS = ("glue_t5", "glue_adapters", "glue_t5_dagger", "glue_adapters_dagger", "glue_hyper", "glue_hyperpp")
MINI = ("data.source=bundled", "tasks=[mini_cola,mini_mrpc]", "paper.expected=null", "paper.parameters=null")


def tables(*folders: Path, split: str = "test") -> dict[str, Table]:
    found = collect(folders)
    return {table.kind: table for table in build_tables(group_runs(found.runs)[0], found.fewshot, split)}


def cell(table: Table, row: str, column: str):
    names = ["/".join(column.names) for column in table.columns]
    return next(own for own in table.rows if "/".join(own.names) == row).cells[names.index(column)]


def printed(recipe: str) -> dict[tuple[str, str], float]:
    expected = load_recipe(recipe).paper.expected
    return {(t, m): value for t, metrics in expected.items() if t != "average" for m, value in metrics.items()}


def test_seeds_are_averaged_as_numpy_does_and_one_seed_has_no_deviation(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 100, size=5)
    found = over_seeds(list(values))
    assert (found.mean, found.std, found.n) == (pytest.approx(values.mean()), pytest.approx(values.std(ddof=1)), 5)
    assert over_seeds([3.0]).std is None

    scores = np.random.default_rng(1).uniform(0, 100, size=(3, 11))
    metrics = list(printed("glue_hyperpp"))
    for seed, own in enumerate(scores):
        values = dict(zip(metrics, own, strict=True))
        write_run(tmp_path / f"{seed}", "glue_hyperpp", f"seed={seed}", f"name=run-{seed}", values=values)
    table = tables(*(tmp_path / f"{seed}" for seed in range(3)))["glue"]
    assert len(table.rows) == 1
    mrpc = cell(table, "HyperFormer++ BASE", "mrpc/f1")
    own = scores[:, metrics.index(("mrpc", "f1"))]
    assert (mrpc.mean, mrpc.std, mrpc.n) == (pytest.approx(own.mean()), pytest.approx(own.std(ddof=1)), 3)
    assert mrpc.difference == pytest.approx(own.mean() - 92.63)
    average = cell(table, "HyperFormer++ BASE", "average/mean of metrics")
    assert average.mean == pytest.approx(scores.mean())
    assert average.std == pytest.approx(scores.mean(axis=1).std(ddof=1))
    assert average.difference == pytest.approx(scores.mean() - 86.48)
    of_tasks = [[own[[i for i, m in enumerate(metrics) if m[0] == t]].mean() for t, _ in metrics] for own in scores]
    of_tasks = [np.mean(list(dict(zip((t for t, _ in metrics), own, strict=True)).values())) for own in of_tasks]
    tasks = cell(table, "HyperFormer++ BASE", "average/mean of tasks")
    assert (tasks.mean, tasks.std) == (pytest.approx(np.mean(of_tasks)), pytest.approx(np.std(of_tasks, ddof=1)))
    assert tasks.printed is None


def test_the_papers_figures_stand_in_the_papers_order(tmp_path: Path) -> None:
    table = tables(*(write_run(tmp_path / name, name, values=printed(name)) for name in ROWS))["glue"]
    for row in table.rows:
        assert all(abs(own.difference) < 0.005 for own in row.cells if own.printed is not None)
        assert sum(own.printed is not None for own in row.cells) == 12
    (note,) = table.notes
    assert "as the paper's" in note and "HyperFormer BASE > HyperFormer++ BASE" in note and "one seed" in note

    better = {metric: value + 1 for metric, value in printed("glue_hyperpp").items()}
    write_run(tmp_path / "glue_hyperpp", "glue_hyperpp", values=better)
    (note,) = tables(*(tmp_path / name for name in ROWS))["glue"].notes
    assert "not the paper's, which is HyperFormer BASE > HyperFormer++ BASE" in note


def test_printed_figures_stand_only_beside_what_they_were_measured_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", "glue_hyperpp", "tasks=[cola,mrpc]", "training.max_steps=10")
    table = tables(run)["glue"]
    assert cell(table, "HyperFormer++ BASE", "mrpc/f1").printed == 92.63
    assert (
        cell(table, "HyperFormer++ BASE", "average/mean of metrics").printed is None
    )  # over three metrics, not eleven
    assert any("differs from the shipped recipe" in note and "training.max_steps=10" in note for note in table.notes)
    validation = tables(run, split="validation")["glue"]
    assert cell(validation, "HyperFormer++ BASE", "mrpc/f1").mean == 40
    assert all(own.printed is None for row in validation.rows for own in row.cells)

    mini = write_run(tmp_path / "b", "glue_hyperpp", *MINI[:2], "paper.table=mini 1")
    assert all(own.printed is None for table in tables(mini).values() for row in table.rows for own in row.cells)


def test_the_miniatures_order_is_compared_by_the_methods_names(tmp_path: Path) -> None:
    for recipe, row, value in (("glue_hyper", "HyperFormer", 60), ("glue_hyperpp", "HyperFormer++", 59)):
        for seed in (1, 2):
            overrides = (*MINI, "paper.table=mini 1", f"paper.row={row} MINI", f"seed={seed}")
            write_run(tmp_path / f"{recipe}-{seed}", recipe, *overrides, values=value + 4 * seed)
    runs = [tmp_path / f"{recipe}-{seed}" for recipe in ("glue_hyper", "glue_hyperpp") for seed in (1, 2)]
    (note,) = tables(*runs)["glue"].notes
    assert "as the paper's at T5-base" in note
    assert "Closer than a standard deviation: HyperFormer MINI and HyperFormer++ MINI" in note


def test_what_differs_names_rows_and_a_seed_counts_once(tmp_path: Path) -> None:
    for r in (16, 32):
        for seed in (1, 2):
            changes = (f"adapter.reduction_factor={r}", f"seed={seed}", f"training.log_every={seed}")
            write_run(tmp_path / f"{r}-{seed}", "glue_hyperpp", *changes)
    again = write_run(tmp_path / "again", "glue_hyperpp", "seed=1", "name=other")
    found = collect([*sorted(tmp_path.iterdir()), tmp_path / "16-1"])
    groups, left_out = group_runs(found.runs)
    assert [len(group.runs) for group in groups] == [2, 2]
    assert (len(left_out) == 1 and str(again) in left_out[0]) or "32-1" in left_out[0]
    rows = [row.names[0] for row in build_tables(groups, (), "test")[0].rows]
    assert rows == [f"HyperFormer++ BASE (adapter.reduction_factor={r})" for r in (16, 32)]

    methods = [write_run(tmp_path / m, "glue_hyperpp", f"adapter.method={m}") for m in ("adapters", "hyperformer")]
    rows = [row.names[0] for row in tables(*methods)["parameters"].rows]
    assert rows == [f"HyperFormer++ BASE (adapter.method={m})" for m in ("adapters", "hyperformer")]


def test_what_a_sweep_selected_is_said_where_it_chose_a_setting(tmp_path: Path) -> None:
    cells = [f"adapter.reduction_factor={r}" for r in (16, 32)]
    for name in cells:
        write_run(tmp_path / "cells" / name, "glue_hyperpp", name, f"name=glue_hyperpp/{name}", "paper=null")
    summary = {"format_version": 1, "name": "s", "cells": [{"cell": name} for name in cells], "selected": cells[1:]}
    (tmp_path / "sweep.json").write_text(json.dumps(summary))
    table = tables(tmp_path)["glue"]
    assert [row.names[0] for row in table.rows] == [f"glue_hyperpp ({name})" for name in cells]
    assert table.notes == ("glue_hyperpp (adapter.reduction_factor=32) was selected on validation.",)
    more = write_run(tmp_path / "more", "glue_hyperpp", "seed=7", "paper=null")  # of the setting, and not of the sweep
    assert tables(tmp_path, more)["glue"].notes == ()


def test_training_sizes_make_curves(tmp_path: Path) -> None:
    rows = {"glue_hyperpp": 60.0, "glue_adapters_dagger": 50.0}
    for recipe, base in rows.items():
        for size in (1000, 100):
            for seed in (1, 2, 3):
                folder = tmp_path / f"{recipe}-{size}-{seed}"
                changes = (f"data.samples_per_task={size}", f"seed={seed}", "paper.expected=null")
                write_run(folder, recipe, *changes, values=base + size / 100 + seed)
    found = tables(*sorted(tmp_path.iterdir()))
    assert set(found) == {"low-resource", "parameters"}
    table = found["low-resource"]
    assert [column.names[0] for column in table.columns] == ["100", "1000"]
    own = cell(table, "HyperFormer++ BASE", "1000")
    assert (own.mean, own.std, own.n) == (72, 1, 3)
    assert cell(table, "Adapters-dagger BASE", "100").mean == 53
    assert len(found["parameters"].rows) == 2

    one_size = tables(*sorted(tmp_path.glob("*-100-*")))
    assert set(one_size) == {"glue", "parameters"}


def test_ablations_are_compared_with_the_full_model(tmp_path: Path) -> None:
    rows = {"full": [], "without adapter blocks": ["adapter.adapter_blocks=false"]}
    for number, (row, changes) in enumerate(rows.items()):
        about = ("paper.table=ablation", f"paper.row={row}", "paper.expected=null", "paper.parameters=null")
        write_run(tmp_path / row, "glue_hyper_small", *about, *changes, values=80 - 3 * number)
    found = tables(*(tmp_path / row for row in rows))
    assert set(found) == {"ablation", "parameters"}
    assert cell(found["ablation"], "without adapter blocks", "against full").mean == -3
    assert cell(found["ablation"], "full", "against full") is None
    alone = tables(tmp_path / "without adapter blocks")["ablation"]
    assert cell(alone, "without adapter blocks", "against full") is None and alone.notes


def test_parameters_stand_beside_the_printed_ones(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, name) for name in ("glue_hyperpp", "glue_adapters")]
    table = tables(*runs)["parameters"]
    total = cell(table, "HyperFormer++ BASE", "total")
    assert (total.mean, total.printed, total.difference) == (1.02, 1.02, 0)
    assert cell(table, "HyperFormer++ BASE", "trained per task (%)").difference == pytest.approx(-0.0025)
    single = cell(table, "Adapters (single) BASE", "total")
    assert (single.printed, single.difference) == ("1+8x0.01", None)


def test_few_shot_results_by_target_examples_and_method(tmp_path: Path) -> None:
    values = np.random.default_rng(2).uniform(50, 90, size=5)
    run = write_run(tmp_path / "run", "glue_hyperpp")
    write_fewshot(run, {("paws", 100): [70.0], ("paws", 16): values.tolist(), ("cb", 4): [60.0, 61.0]})
    apart = write_fewshot(tmp_path / "apart", {("paws", 16): [58.0, 59.0]}, name="base/seed=1")
    alone = write_fewshot(tmp_path / "alone", {("paws", 16): [58.0]}, name="base/seed=1", train="task-embedding")
    table = tables(run, apart, alone, apart)["few-shot"]
    assert len(table.columns) == 4  # a folder counts once, and there is the majority
    assert [row.names for row in table.rows] == [
        ("paws", "accuracy", "16"), ("paws", "accuracy", "100"), ("cb", "accuracy", "4")
    ]  # fmt: skip
    own = cell(table, "paws/accuracy/16", "HyperFormer++ BASE")
    assert (own.mean, own.std, own.n) == (pytest.approx(values.mean()), pytest.approx(values.std(ddof=1)), 5)
    assert cell(table, "paws/accuracy/100", "HyperFormer++ BASE").std is None
    assert cell(table, "paws/accuracy/16", "base (train task-embedding)").mean == 58
    assert cell(table, "cb/accuracy/4", "base (train all)") is None
    assert cell(table, "cb/accuracy/4", "majority").mean == 55.8


def test_few_shot_results_made_in_other_ways_say_so(tmp_path: Path) -> None:
    same = {"schedule": "linear", "max_steps": 500}
    long = write_fewshot(tmp_path / "long", {("paws", 16): [60.0]}, name="long", settings=same)
    short = write_fewshot(tmp_path / "short", {("paws", 16): [50.0]}, name="short", settings={**same, "max_steps": 5})
    table = tables(long, short)["few-shot"]
    assert table.notes == ("long: max_steps=500.", "short: max_steps=5.")
    assert table.rows[0].folders == (str(long), str(short))
    summary = json.loads((short / "fewshot.json").read_text())
    summary["results"][0]["majority"] = 40.0
    (short / "fewshot.json").write_text(json.dumps(summary | {"settings": same}))
    table = tables(long, short)["few-shot"]
    assert table.notes == ("No majority where the columns were tested on different data.",)
    assert cell(table, "paws/accuracy/16", "majority") is None


@pytest.mark.parametrize("protocol", ["paper", "reference"])
def test_replicas_set_runs_apart_and_micro_batches_do_not(protocol: str, tmp_path: Path) -> None:
    for key, rows in (("micro_batch_size", 1), ("replicas", 2)):
        for size in (8, 16):
            changes = (f"data.protocol={protocol}", f"training.{key}={size}", f"seed={size}")
            trackers = "training.report_to=[tensorboard]" if size == 8 else "seed=16"
            write_run(tmp_path / key / str(size), "glue_hyperpp", *changes, trackers)
        groups, _ = group_runs(collect(sorted((tmp_path / key).iterdir())).runs)
        assert len(groups) == rows


def test_runs_of_other_tasks_have_tables_of_their_own(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", "glue_hyperpp"), write_run(tmp_path / "b", "glue_hyper", *MINI)]
    kinds = [table.kind for table in build_tables(group_runs(collect(runs).runs)[0], (), "test")]
    assert kinds == ["glue", "glue", "parameters"]
    with pytest.raises(InputError, match="no run has scores on split 'train'; they have test, validation"):
        tables(*runs, split="train")


@pytest.mark.parametrize(
    ("tasks", "title"),
    [("[mini_cola,mini_mrpc]", "Miniature, test, per cent"), ("[mini_cola,tickets]", "Scores, test, per cent")],
)
def test_tasks_of_ones_own_are_not_called_a_benchmark(tasks: str, title: str, tmp_path: Path) -> None:
    own = {"name": "tickets", "path": "bundled", "template": "{body}", "label_column": "priority", "labels": ["0", "1"]}
    named = tasks.replace("tickets", json.dumps(own))
    write_run(tmp_path / "run", "mini/hyperpp", f"tasks={named}", "data.samples_per_task=null", "sweep=null")
    assert tables(tmp_path / "run")["glue"].title == title
