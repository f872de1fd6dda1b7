"""Reading streams: rows, their numbers, and what is wrong with lines."""

import io
import itertools
from collections.abc import Iterator

import pytest

from hyperformer_cli.errors import InputError
from hyperformer_cli.prediction.rows import Fault, Row, RowStream, format_of


def read(content: bytes, input_format: str) -> list[Row | Fault]:
    return list(RowStream(io.BytesIO(content), "rows", input_format))


def test_json_lines_are_counted_as_editors_and_rows_as_data_sets_count() -> None:
    found = read(b'\xef\xbb\xbf{"a": "1"}\n\n  \r\nnot json\n{"a": "\xc3\xa9"}', "jsonl")
    assert found == [Row(1, 0, {"a": "1"}), found[1], Row(5, 2, {"a": "é"})]
    assert isinstance(found[1], Fault) and found[1].line == 4


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": ', "not valid JSON (Expecting value, column 7)"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'"a"', "not a JSON object"),
        (b"[1, 2]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"\x00", "not valid JSON"),
        (b'{"a": ' + b"7" * 5000 + b"}", "not readable JSON"),
        (b"[" * 200_000, "not readable JSON"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_bad_json_line_does_not_end_the_stream(line: bytes, reason: str) -> None:
    bad, *_, good = read(line + b'\n{"a": "fine"}\n', "jsonl")
    assert bad.line == 1 and bad.reason.startswith(reason)
    assert good.values == {"a": "fine"}


def test_csv_quotes_hold_commas_line_ends_and_quotes() -> None:
    found = read(b'a,b\r\n"x, ""y""\nz",2\r\n\r\nlast,3\r\n', "csv")
    assert found == [Row(2, 0, {"a": 'x, "y"\nz', "b": "2"}), Row(5, 1, {"a": "last", "b": "3"})]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_csv_of_a_spreadsheet_has_another_delimiter(delimiter: str) -> None:
    content = f'a{delimiter}the text\n1{delimiter}"x, ""y"";\n|z"\n'.encode()
    assert read(content, "csv") == [Row(2, 0, {"a": "1", "the text": 'x, "y";\n|z'})]
    assert read(b"a;b,c\n1;2,3\n", "csv") == [Row(2, 0, {"a;b": "1;2", "c": "3"})]


def test_tsv_knows_no_quotes() -> None:
    found = read(b'a\tb\n"x\t1\n\'"y"\t\n', "tsv")
    assert found == [Row(2, 0, {"a": '"x', "b": "1"}), Row(3, 1, {"a": '\'"y"', "b": ""})]


@pytest.mark.parametrize("input_format", ["csv", "tsv"])
def test_bad_lines_of_tables(input_format: str) -> None:
    content = b"a,b\nx\nx,y,z\n\xff,y\nx,y\n".replace(b",", b"\t" if input_format == "tsv" else b",")
    *bad, good = read(content, input_format)
    assert bad == [
        Fault(2, "has 1 cells where the header has 2"),
        Fault(3, "has 3 cells where the header has 2"),
        Fault(4, "not UTF-8; save the file as UTF-8"),
    ]
    assert good == Row(5, 3, {"a": "x", "b": "y"})


def test_csv_goes_on_after_a_wrong_quote() -> None:
    bad, good = read(b'a,b\n"x" y,2\nx,3\n', "csv")
    assert isinstance(bad, Fault) and (bad.line, good) == (2, Row(3, 1, {"a": "x", "b": "3"}))
    good, bad = read(b'a,b\nx,1\n"x,2\n', "csv")  # open to the end
    assert isinstance(bad, Fault) and (bad.line, good) == (3, Row(2, 0, {"a": "x", "b": "1"}))


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"", "is empty"), (b"\n\n", "is empty"), (b"a,a\n1,2\n", "duplicate column 'a'"), (b"\xff\n", "UTF-8")],
)
@pytest.mark.parametrize("input_format", ["csv", "tsv"])
def test_a_header_must_be_good(content: bytes, part: str, input_format: str) -> None:
    with pytest.raises(InputError, match=part):
        RowStream(io.BytesIO(content.replace(b",", b"\t") if input_format == "tsv" else content), "rows", input_format)


@pytest.mark.parametrize("input_format", ["jsonl", "csv", "tsv"])
def test_an_endless_stream_can_be_read(input_format: str) -> None:
    class Endless:
        def __iter__(self) -> Iterator[bytes]:
            return itertools.repeat(b'{"a": "x"}\n')

    assert len(list(itertools.islice(RowStream(Endless(), "rows", input_format), 5))) == 5


def test_formats_by_name() -> None:
    names = ("a.jsonl", "a.b.JSON", "a.csv", "a.tsv")
    assert [format_of(name) for name in names] == ["jsonl", "jsonl", "csv", "tsv"]
    for name in ("a.parquet", "a", "csv"):
        with pytest.raises(InputError, match="--input-format"):
            format_of(name)
    with pytest.raises(InputError, match="'jsonl'"):
        RowStream(io.BytesIO(), "rows", "json")


def test_an_open_quote_says_how_many_lines_it_took() -> None:
    """All of them count, so that numbers and totals stay those of the file's lines."""
    lines = ["a,b", "1,x", '2,"never closed', *(f"{i},y" for i in range(3, 40)), '40,"again" z']
    first, fault = read("\n".join(lines).encode(), "csv")
    assert first == Row(2, 0, {"a": "1", "b": "x"})
    assert isinstance(fault, Fault) and fault.place == "lines 3 to 41" and fault.lines == 39
    wide = read(b'a,b\n"1\n2\n3"\n4,y\n', "csv")
    assert isinstance(wide[0], Fault) and wide[0].place == "lines 2 to 4" and wide[1] == Row(5, 3, {"a": "4", "b": "y"})
