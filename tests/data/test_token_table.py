"""Tables of token ids: what is read is what was given, and memory does not hold it all."""

import random
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from hyperformer_cli.data.token_table import IdLists, TokenizedRows, read_token_table, write_token_table


def test_what_is_read_is_what_was_given(tmp_path: Path) -> None:
    draw = random.Random(0)
    inputs = [[draw.randrange(2**31) for _ in range(draw.randrange(40))] for _ in range(1000)]
    targets = [f"text {i % 7} ü" for i in range(1000)]
    target_ids = [[i % 7, 1] for i in range(1000)]
    cuts = [0, 1, 1, 400, 999, 1000]
    parts = [TokenizedRows(inputs[a:b], target_ids[a:b], targets[a:b]) for a, b in pairwise(cuts)]
    write_token_table(tmp_path / "new" / "x.tokens", parts)
    table = read_token_table(tmp_path / "new" / "x.tokens")
    assert table is not None and table.to_pydict() == {"input_ids": inputs, "target_ids": target_ids, "target": targets}
    for ids, column in ((inputs, "input_ids"), (target_ids, "target_ids")):
        lists = IdLists(table[column])
        assert [lists[row].tolist() for row in range(1000)] == ids
        assert lists.lengths().tolist() == [len(each) for each in ids]
    assert IdLists(table["target_ids"]).last().tolist() == [1] * 1000
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.tokens"]


def test_no_rows_are_a_table_too(tmp_path: Path) -> None:
    write_token_table(tmp_path / "x.tokens", [])
    table = read_token_table(tmp_path / "x.tokens")
    assert table is not None and table.num_rows == 0
    assert IdLists(table["input_ids"]).lengths().tolist() == IdLists(table["target_ids"]).last().tolist() == []


def test_memory_does_not_hold_the_ids(tmp_path: Path) -> None:
    rows, parts = [list(range(300, 400))] * 1000, 60  # 24 MB of ids

    def made() -> Iterator[TokenizedRows]:
        for _ in range(parts):
            yield TokenizedRows(rows, rows, ["0"] * 1000)

    tracemalloc.start()
    try:
        write_token_table(tmp_path / "x.tokens", made())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "x.tokens").stat().st_size > 2 * parts * 1000 * 100 * 4
    assert peak < 6e6
    table = read_token_table(tmp_path / "x.tokens")
    assert table is not None
    assert np.array_equal(IdLists(table["input_ids"])[parts * 1000 - 1], np.arange(300, 400))
