"""The pictures of terminals: small, drawn from real runs, and without a trace of the machine they ran on."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "figures"
PAGES = {page: page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
SCREENS = {
    "init": ["$ hyperformer init tickets.csv", "left out 71 rows", "hyperformer train tickets.yaml"],
    "train": ["$ hyperformer train tickets.yaml", "tickets: test", "best     step", "hyperformer export"],
    "training": ["$ hyperformer train tickets.yaml", "tickets", "loss", "validation at step"],
    "details": ["--details", "tickets: test, per label (%)", "gold by row, predicted by column"],
}


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen(name: str) -> None:
    file = FIGURES / f"{name}.svg"
    assert file.stat().st_size < 60_000
    shown = "\n".join(ElementTree.parse(file).getroot().itertext()).replace("\xa0", " ")
    for part in SCREENS[name]:
        assert "".join(part.split()) in "".join(shown.split())  # a picture is made of words
    assert "Traceback" not in shown and "�" not in shown
    assert not re.search(r"(?<![\w.])/(?!s\b)\w+/\w+", shown)  # an absolute path


def test_every_figure_is_used() -> None:
    pages = "\n".join(PAGES.values())
    assert all(f"figures/{figure.name})" in pages for figure in FIGURES.glob("*.svg"))
