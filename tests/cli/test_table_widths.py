"""Tables in windows of any width: numbers and what one would type stay whole."""

import pytest
from rich.console import Console

from hyperformer_cli.cli import tables


@pytest.mark.parametrize("width", [60, 80, 200])
def test_what_gives_way(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=width, highlight=False, markup=False)
    monkeypatch.setattr(tables, "stdout_console", lambda: console)
    rows = [("params_adapters_dagger_r2_small", "Adapters-dagger r=2 SMALL, a long one", "227,056,128", "12.73 %")]
    with console.capture() as captured:
        console.print(tables.table("Parameters", ("recipe", "row", "trained", "per task"), rows, left=2))
    lines = captured.get().splitlines()
    assert all(len(line) <= width for line in lines)
    assert "227,056,128" in captured.get() and "12.73 %" in captured.get() and "…" not in captured.get()
    assert (rows[0][0] in captured.get()) == (width > 60)
    folded = "".join(line[: 40 if width > 60 else 20].split("  ")[0].strip() for line in lines[2:])
    assert folded.startswith(rows[0][0])
