"""Long lines: folded between words in a window, whole in pipes."""

import os
import pty
import sys

import pytest

from hyperformer_cli.cli.lines import fold, say

LINE = "left out  tickets.csv:353: priority 'hihg' has fewer than 3 rows; did you mean 'high'?"


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_no_word_is_cut(width: int) -> None:
    lines = fold(LINE + "\n\nnext", width, hanging=10).split("\n")
    assert max(map(len, lines)) <= width and lines[-2:] == ["", "next"]
    assert " ".join(" ".join(lines[:-2]).split()) == " ".join(LINE.split())
    assert all(line.startswith(" " * 10) for line in lines[1:-2]) and (len(lines) > 3) == (width < len(LINE))


def test_a_long_word_stays_whole() -> None:
    path = "outputs/" + "x" * 90
    assert path in fold(f"weights  {path}", 40, hanging=9)


def test_only_a_terminal_folds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    say(LINE, 10)
    assert capsys.readouterr().out == LINE + "\n"
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        say(LINE, 10)
        terminal.flush()
        shown = os.read(ours, 10_000).decode().replace("\r\n", "\n")
    os.close(ours)
    assert shown == fold(LINE, 40, 10) + "\n" and shown.count("\n") == 3
