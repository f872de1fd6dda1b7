"""Formats: every one holds the same figures, and what a format reads as its own is escaped."""

import csv
import io
import re

import pytest
from rich.console import Console

from hyperformer_cli.reporting import formats
from hyperformer_cli.reporting.table import Column, Row, Table, TableCell

COLUMNS = (Column(("mrpc", "accuracy")), Column(("mrpc", "f1")), Column(("average", "mean of metrics")))
TABLE = Table(
    kind="glue",
    title="GLUE, 100 %",
    row_heads=("method",),
    column_heads=("task", "metric"),
    columns=COLUMNS,
    rows=(
        Row(
            ("a_b & c|d",),
            (TableCell(88.244, 0.312, 3, 89.66), TableCell(-1.5), TableCell(86.478, 0.1, 3, 86.48)),
            ("runs/1",),
        ),
        Row(("plain",), (TableCell(70.0), None, TableCell(60.0))),
    ),
    notes=("One > two.",),
    transpose_text=True,
)


def as_text(table: Table, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for part in formats.to_text(table, width):
        console.print(part)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_text_fits_the_terminal_and_cuts_no_figure(width: int) -> None:
    shown = as_text(TABLE, width)
    assert max(map(len, shown.splitlines())) <= width
    for part in ("88.24 ± 0.31 (3)", "89.66", "-1.42", "mean of metrics", "86.48 ± 0.10 (3)", "+0.00", "70.00"):
        assert part in shown
    assert "70.00 ±" not in shown and "sample standard deviation" in shown and "-0.00" not in shown
    assert shown.count("accuracy") == (1 if width == 200 else shown.count("f1"))


def test_many_methods_are_cut_between_columns() -> None:
    row = Row(("paws",), tuple(TableCell(float(i), 1.0, 2) for i in range(12)))
    columns = tuple(Column((f"method {i}",)) for i in range(12))
    shown = as_text(Table("few-shot", "Few-shot", columns, (row,), row_heads=("task",)), 80)
    assert shown.count("paws") > 1 and max(map(len, shown.splitlines())) <= 80
    assert [float(found) for found in re.findall(r"([\d.]+) ± 1\.00 \(2\)", shown)] == [float(i) for i in range(12)]


def test_a_long_name_gives_way_and_no_number_is_cut() -> None:
    name = "HyperFormer++ BASE (training.max_steps=65536, adapter.reduction_factor=16)"
    row = Row((name,), (TableCell(88.244, 0.312, 3, 89.66),))
    shown = as_text(Table("glue", "Scores", (Column(("average of all metrics",)),), (row,)), 80)
    assert all(part in shown for part in ("88.24 ± 0.31 (3)", "89.66", "-1.42", "diff.")) and "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_markdown_has_as_many_cells_in_every_row() -> None:
    shown = formats.to_markdown([TABLE])
    lines = [line for line in shown.splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {6}
    assert lines[0] == "| method | mrpc acc | mrpc F1 | mean of metrics |"
    assert lines[2] == r"| a_b & c\|d | 88.24 ± 0.31 (3) | -1.50 | 86.48 ± 0.10 (3) |"
    assert lines[3] == "| printed | 89.66 |  | 86.48 |" and lines[4] == "| difference | -1.42 |  | +0.00 |"
    assert lines[5] == "| plain | 70.00 |  | 60.00 |"


def test_latex_escapes_what_latex_reads() -> None:
    shown = formats.to_latex([TABLE])
    assert r"a\_b \& c|d & 88.24 $\pm$ 0.31 (3) & $-$1.50 & 86.48 $\pm$ 0.10 (3) \\" in shown
    assert r"\caption{GLUE, 100 \%." in shown and r"One $>$ two." in shown and r"\begin{tabular}{lrrr}" in shown
    body = shown.split("\n", 1)[1]
    assert not re.search(r"(?<!\\)[%_#]", body) and "±" not in body
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {3}
    for part in ("toprule", "midrule", "bottomrule"):
        assert body.count(part) == 1
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")


def test_csv_and_json_hold_the_figures() -> None:
    rows = list(csv.DictReader(io.StringIO(formats.to_csv([TABLE]))))
    assert len(rows) == 5 and rows[0]["row"] == "a_b & c|d" and rows[0]["column"] == "mrpc/accuracy"
    assert [float(rows[0][key]) for key in ("mean", "std", "n", "printed", "difference")] == [
        88.244, 0.312, 3, 89.66, -1.416,
    ]  # fmt: skip
    assert rows[1]["std"] == rows[1]["printed"] == ""
    (table,) = formats.to_json([TABLE])
    assert table["rows"][0]["cells"]["mrpc/f1"] == {
        "mean": -1.5, "std": None, "n": 1, "printed": None, "difference": None,
    }  # fmt: skip
    assert table["rows"][0]["runs"] == ["runs/1"] and "mrpc/f1" not in table["rows"][1]["cells"]
