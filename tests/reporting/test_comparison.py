"""Paired comparisons: scipy's numbers, coverage of the interval, and what is compared with what."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run
from scipy import stats
from typer.testing import CliRunner

from hyperformer_cli.cli.main import app
from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting.collect import collect
from hyperformer_cli.reporting.groups import group_runs
from hyperformer_cli.reporting.statistics import bootstrap_interval, holm, paired_differences
from hyperformer_cli.reporting.table import Table
from hyperformer_cli.reporting.tables import build_tables

METHODS = ("hyperpp", "adapters_dagger", "adapters")
NAMES = ("HyperFormer++ MINI", "Adapters-dagger MINI", "Adapters (single) MINI")


def comparison(folder: Path, against: str = "all") -> Table:
    found = collect([folder])
    return next(
        one for one in build_tables(group_runs(found.runs)[0], [], "test", False, against) if one.kind == "comparison"
    )


def write_rows(folder: Path, scores: dict[str, dict[int, float]], *changes: str) -> None:
    for method, by_seed in scores.items():
        for seed, score in by_seed.items():
            write_run(
                folder / method / f"{seed}", f"mini/{method}", "sweep=null", f"seed={seed}", *changes, values=score
            )


def test_the_p_value_is_scipys_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(70, 2, 8), rng.normal(69, 2, 8)
    found = paired_differences(list(first), list(second))
    assert found.values == pytest.approx(tuple(first - second))
    assert found.p == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_equal_differences_have_no_spread_and_one_pair_no_test() -> None:
    assert paired_differences([2.0] * 6, [1.0] * 6).p == 0 and paired_differences([1.0] * 6, [1.0] * 6).p == 1
    assert paired_differences([2.0] * 6, [1.0] * 6).interval == (1.0, 1.0)
    assert paired_differences([2.0, 3.0, 4.5], [1.0, 1.0, 1.0]).interval is None  # too few to draw from
    with pytest.raises(ValueError, match="no spread"):
        paired_differences([1.0], [2.0])


def test_the_interval_is_the_same_every_time_and_near_the_t_interval() -> None:
    values = list(np.random.default_rng(3).normal(1, 2, 8))
    low, high = bootstrap_interval(values)
    assert bootstrap_interval(values) == (low, high)
    exact = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    width = exact.high - exact.low
    assert abs(low - exact.low) < 0.1 * width and abs(high - exact.high) < 0.1 * width


@pytest.mark.parametrize("n", [5, 8])
def test_the_interval_covers_the_mean_as_often_as_it_says(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperformer_cli.reporting.statistics._RESAMPLES", 499)
    rng, trials = np.random.default_rng(1), 400
    intervals = [bootstrap_interval(list(rng.normal(5, 2, n))) for _ in range(trials)]
    covered = sum(low <= 5 <= high for low, high in intervals) / trials
    assert 0.92 <= covered <= 0.98  # a plain percentile interval covers 0.85 and 0.88


def test_holm_adjusts_as_the_paper_of_1979_does() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0] and holm([0.02]) == [0.02]


def test_pairs_share_seeds_and_the_sentence_counts_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 3, 8)  # of the seed, which pairing removes
    scores = {
        "hyperpp": {s: 70 + noise[s] + rng.normal(0, 0.2) for s in range(8)},
        "adapters_dagger": {s: 68 + noise[s] + rng.normal(0, 0.2) for s in range(7)},
        "adapters": {s: 70 + noise[s] + rng.normal(0, 0.5) for s in range(8)},
    }
    write_rows(tmp_path, scores)
    table = comparison(tmp_path)
    assert {row.names for row in table.rows} == {(NAMES[2], NAMES[1]), (NAMES[2], NAMES[0]), (NAMES[1], NAMES[0])}
    by_names = {row.names: row.cells for row in table.rows}
    cells = by_names[NAMES[1], NAMES[0]]
    values = np.array([scores["adapters_dagger"][s] - scores["hyperpp"][s] for s in range(7)])
    assert (cells[0].mean, cells[0].std, cells[0].n) == pytest.approx((values.mean(), values.std(ddof=1), 7))
    assert cells[1].mean < values.mean() < cells[2].mean < 0
    p = stats.ttest_1samp(values, 0).pvalue
    assert cells[3].mean == pytest.approx(p) and p < cells[4].mean <= 3 * p + 1e-12
    first, second, *others = table.notes
    assert "3 comparisons, Holm" in first and f"{NAMES[0]} above {NAMES[1]} by {-values.mean():.2f}" in first
    assert f"{NAMES[2]} and {NAMES[0]}" in second and "no proof" in second
    assert f"{NAMES[1]} and {NAMES[0]}: without 1 seed that only one has (7)." in others


def test_one_row_is_compared_with_the_others(tmp_path: Path) -> None:
    write_rows(tmp_path, {method: {1: 70.0 + i, 2: 71.0 + 2 * i} for i, method in enumerate(METHODS)})
    table = comparison(tmp_path, "hyperformer")
    assert [row.names for row in table.rows] == [(NAMES[0], NAMES[2]), (NAMES[0], NAMES[1])]
    assert all(row.cells[1] is None for row in table.rows)  # two seeds
    assert "Bootstrap intervals need 5 seeds." in table.notes
    with pytest.raises(InputError, match=r"no row is named 'Lora'.*Adapters"):
        comparison(tmp_path, "Lora")
    with pytest.raises(InputError, match="several rows are named 'Adapters'"):
        comparison(tmp_path, "Adapters")


def test_other_data_and_other_seeds_are_not_compared(tmp_path: Path) -> None:
    write_rows(tmp_path, {"hyperpp": {1: 70.0, 2: 71.0}})
    write_rows(tmp_path, {"adapters": {3: 60.0, 4: 61.0}})
    write_rows(tmp_path, {"adapters_dagger": {1: 60.0, 2: 61.0}}, "data.samples_per_task.mini_rte=50")
    table = comparison(tmp_path, NAMES[0])
    assert not table.rows
    for form in ("text", "markdown", "latex", "csv", "json"):
        result = CliRunner().invoke(app, ["report", str(tmp_path), "--compare", NAMES[0], "--format", form])
        assert result.exit_code == 0, result.output
        assert form == "csv" or "share no seeds" in " ".join(result.output.split())
    text = " ".join(table.notes)
    assert "share no seeds" in text
    assert "samples_per_task.mini_rte=100 and data.samples_per_task.mini_rte=50 differ" in text


def test_every_format_shows_the_comparison(tmp_path: Path) -> None:
    write_rows(tmp_path, {method: {s: 70.0 + i + 0.1 * s * i for s in range(6)} for i, method in enumerate(METHODS)})
    for form in ("text", "markdown", "latex", "csv", "json"):
        result = CliRunner().invoke(app, ["report", str(tmp_path), "--compare", NAMES[0], "--format", form])
        assert result.exit_code == 0, result.output
        assert "omparison" in result.output or "Distinguished" in result.output
        assert "± +" not in result.output  # a spread has no sign
    found = next(one for one in json.loads(result.stdout)["tables"] if one["table"] == "comparison")
    assert found["rows"][0]["cells"]["p (Holm)"]["mean"] < 0.05 and found["notes"][0].startswith("Distinguished at 5%")
    refused = CliRunner().invoke(app, ["report", str(tmp_path / "adapters"), "--compare", "all"])
    assert refused.exit_code == 2 and "fewer than two rows" in refused.output
