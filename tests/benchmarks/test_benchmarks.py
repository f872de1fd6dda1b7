"""Every benchmark runs, at sizes at which nothing is learnt about speed, and its rows are in the files it writes."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import available, main
from benchmarks.timing import in_turn, median, ratio, short_run

# Their first row is what the others are set beside.
WITH_RATIO = (
    "step", "families", "memory", "tasks", "compile", "lora", "padding", "evaluation", "prediction",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return short_run(tmp_path_factory.mktemp("run") / "run")


SLOW = ("compile", "prediction")  # they trace a model, and train one


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in available()])
def test_a_benchmark_writes_its_rows(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    few = ["--tiny", "--rounds", "1", "--rows", "4", "--lengths", "8", "16", "--output", str(tmp_path)]
    more = ["--run", str(request.getfixturevalue("run"))] if name == "prediction" else []
    more += ["--methods", "hyperformer++"] if name == "memory" else []
    main([name, *few, *more])
    found = json.loads((tmp_path / "benchmarks.json").read_text())["benchmarks"][name]
    module, rows = import_module(f"benchmarks.{name}"), found["rows"]
    assert rows and all(set(row) <= set(module.COLUMNS) for row in rows)
    assert set().union(*rows) == set(module.COLUMNS), "a column without a figure"
    assert rows[0].get("ratio") == (1.0 if name in WITH_RATIO else None)
    for row in rows:
        figures = [value for value in row.values() if isinstance(value, int | float)]
        assert figures and all(figure >= 0 for figure in figures)
    lines = (tmp_path / "benchmarks.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert len(table) == 2 + len(rows) and f"`python -m benchmarks {name}`" in "\n".join(lines)
    assert all(line.count(" | ") == len(module.COLUMNS) - 1 for line in table)


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["stepp"])
    assert "there are step, families" in capsys.readouterr().err


def test_a_ratio_is_the_median_of_the_ratios_within_rounds() -> None:
    """Of a machine that is half as fast from the second round on."""
    seconds = {"a": iter([9.0, 1.0, 2.0, 2.0]), "b": iter([9.0, 1.5, 3.0, 2.0])}
    order: list[str] = []

    def way(name: str):
        def call() -> dict[str, float]:
            order.append(name)
            return {"total": next(seconds[name])}

        return call

    taken = in_turn({name: way(name) for name in seconds}, rounds=3)
    assert order == ["b", "a", "a", "b", "b", "a", "a", "b"] and median(taken["b"]) == 2.0
    assert ratio(taken["b"], taken["a"]) == {"ratio": 1.5, "spread": "1.25 to 1.50"}
