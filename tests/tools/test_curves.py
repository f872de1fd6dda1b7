"""Curves: runs by a key, over seeds; what is near the best; the table and the figure that come of it."""

from pathlib import Path

import pytest

from tests.reporting.fake_runs import write_run
from tools.curves import curve, main, means, range_within


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for rate, scores in {"1e-4": (60, 64), "3e-4": (70, 74), "1e-3": (69, 73), "3e-3": (50, 50)}.items():
        for seed, score in enumerate(scores, 1):
            more = ("sweep=null", f"seed={seed}", f"training.learning_rate={rate}")
            write_run(tmp_path / "runs" / f"{rate}-{seed}", "mini/hyperpp", *more, values=float(score))
    return tmp_path / "runs"


def test_a_curve_is_the_mean_over_seeds(runs: Path) -> None:
    found = curve(runs, "training.learning_rate")
    assert list(found) == [1e-4, 3e-4, 1e-3, 3e-3] and all(len(own) == 2 for own in found.values())
    assert means(found, "test") == {1e-4: 62, 3e-4: 72, 1e-3: 71, 3e-3: 50}
    assert means(found, "validation", ["mini_rte"])[3e-4] == 62
    assert list(curve(runs / "1e-3-1", "tasks")) == [6]


def test_what_makes_no_curve_is_refused(runs: Path, capsys: pytest.CaptureFixture) -> None:
    for arguments, message in (
        (["name", f"a={runs}"], "neither a number nor a list"),
        (["training.rate", f"a={runs}"], "neither a number nor a list"),
        (["tasks", f"a={runs}"], "differ in more than the seed"),
        (["training.learning_rate", f"a={runs}", "--tasks", "mini_cola,rte"], "no scores on test of mini_cola, rte"),
        (["training.learning_rate", str(runs)], "NAME=FOLDER"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        assert message in capsys.readouterr().err


def test_the_range_ends_where_the_curve_falls() -> None:
    assert range_within({1: 70.0, 2: 66.0, 3: 72.0, 4: 73.0, 5: 70.0, 6: 60.0}, 3) == (3, 5)
    assert range_within({1: 5.0}, 3) == (1, 1)


def test_what_is_printed_and_drawn(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    to = tmp_path / "rates.svg"
    arguments = ["training.learning_rate", f"mine={runs}", "--within", "3", "--parameters", "--to", str(to)]
    main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| training.learning_rate | 0.0001 | 0.0003 | 0.001 | 0.003 |"
    assert lines[2] == "| mine | 62.0 ± 2.8 (2) | 72.0 ± 2.8 (2) | 71.0 ± 2.8 (2) | 50.0 ± 0.0 (2) |"
    assert "mine: at most 3 below its best from 0.0003 to 0.001, 3.33 times" in lines
    assert lines[-1].startswith("| mine | ") and lines[-1].count("%") == 4
    drawn = to.read_bytes()
    main(arguments)
    assert b"<svg" in drawn and to.read_bytes() == drawn
