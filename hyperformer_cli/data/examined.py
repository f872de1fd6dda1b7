"""One pass over a split's rows, and what it leaves: a few numbers per row, from which any role can be reported."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from hyperformer_cli.data.encoding import Encoding
from hyperformer_cli.data.sources import Rows
from hyperformer_cli.data.tokenization import TokenizedSplit, formatted_rows
from hyperformer_cli.tasks.task import Task
from hyperformer_cli.tasks.template import template_parts

UNLIMITED = 2**20  # tokens
_BLOCK = 10_000  # rows whose tokens are looked at together
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, as in splitmix64


@dataclass(frozen=True)
class Examined:
    """A split's rows in numbers; all arrays have one item per row.

    Attributes:
        inputs: a hash of every input.
        empty: whether an input holds no text of its row's.
        targets: place of every target in `target_texts`.
        target_texts: the distinct targets.
        lengths: tokens of every input, the end of the sequence included; None without a tokenizer.
        unknown: how many of them the tokenizer does not know; None without a tokenizer.
        is_cut: whether `lengths` count what was left of the inputs at the limit.
    """

    inputs: np.ndarray
    empty: np.ndarray
    targets: np.ndarray
    target_texts: Sequence[str]
    lengths: np.ndarray | None
    unknown: np.ndarray | None
    is_cut: bool = False

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, rows: Sequence[int] | np.ndarray) -> "Examined":
        """The numbers of some rows, in their order."""
        at = np.asarray(rows, dtype=np.int64)
        lengths, unknown = (None if of_all is None else of_all[at] for of_all in (self.lengths, self.unknown))
        inputs, empty, targets = self.inputs[at], self.empty[at], self.targets[at]
        return Examined(inputs, empty, targets, self.target_texts, lengths, unknown, self.is_cut)


def examine_rows(task: Task, rows: Rows, prefix: bool, encoding: Encoding | None) -> Examined:
    """Examines rows as they are, before anything is cut.

    Args:
        task: makes texts of them.
        rows: of one split.
        prefix: whether the task's name stands before an input.
        encoding: for the lengths; without one there are none.

    Raises:
        InputError: a row that training would refuse.
    """
    hashes: list[int] = []
    empty: list[bool] = []
    targets: list[int] = []
    places: dict[str, int] = {}
    lengths, unknown = [], []
    nothing = _squeezed("".join(text for text, _, _ in template_parts(task.input_template(prefix))))
    for texts, target_texts in formatted_rows(task, rows, prefix):
        hashes += (int.from_bytes(hashlib.blake2b(str(t).encode(), digest_size=8).digest(), "little") for t in texts)
        empty += (_squeezed(str(text)) == nothing for text in texts)
        targets += (places.setdefault(text, len(places)) for text in target_texts)
        if encoding is not None:
            ids = encoding.inputs(texts, UNLIMITED)
            offsets = np.cumsum([0, *map(len, ids)])
            flat = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=offsets[-1])
            lengths.append(np.diff(offsets))
            unknown.append(_sums(flat == _unknown_id(encoding), offsets))
    return Examined(
        np.array(hashes, dtype=np.uint64),
        np.array(empty, dtype=bool),
        np.array(targets, dtype=np.int64),
        list(places),
        np.concatenate(lengths) if lengths else None,
        np.concatenate(unknown) if unknown else None,
    )


def examine_tokens(task: Task, split: TokenizedSplit, prefix: bool, encoding: Encoding) -> Examined:
    """Examines what a split was tokenised to: much sooner, but what was cut off is not seen."""
    nothing = "".join(text for text, _, _ in template_parts(task.input_template(prefix)))
    shortest, unknown_id = len(encoding.inputs([nothing], UNLIMITED)[0]), _unknown_id(encoding)
    hashes, lengths, unknown = [], [], []
    for offsets, flat in _blocks(split):
        hashes.append(_hashes(flat, offsets))
        lengths.append(np.diff(offsets))
        unknown.append(_sums(flat == unknown_id, offsets))
    counts = np.concatenate(lengths)
    dictionary = split.table["target"].combine_chunks().dictionary_encode()
    targets, texts = dictionary.indices.to_numpy().astype(np.int64), dictionary.dictionary.to_pylist()
    of_table = Examined(
        np.concatenate(hashes), counts <= shortest, targets, texts, counts, np.concatenate(unknown), is_cut=True
    )
    return of_table.select(split.rows)


def _blocks(split: TokenizedSplit) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some thousand rows at a time: where each row begins in their token ids, and these one row after the other."""
    for chunk in split.table["input_ids"].iterchunks():
        offsets, values = chunk.offsets.to_numpy(), chunk.values.to_numpy()
        for start in range(0, len(chunk), _BLOCK):
            part = offsets[start : start + _BLOCK + 1]
            yield part - part[0], values[part[0] : part[-1]]


def _hashes(flat: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """A hash of every row: the sum of one of each token and its position."""
    positions = np.arange(len(flat)) - np.repeat(offsets[:-1], np.diff(offsets))
    mixed = flat.astype(np.uint64) * _MIXER + positions.astype(np.uint64)
    for shift in (30, 27, 31):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * _MIXER
    return _sums(mixed, offsets)


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _unknown_id(encoding: Encoding) -> int:
    number = encoding.tokenizer.unk_token_id
    return -1 if number is None or number in (encoding.pad_id, encoding.tokenizer.eos_token_id) else number


def _sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The sum of every part of `values`, the parts given by where they begin and end; hashes wrap around."""
    totals = np.zeros(len(values) + 1, dtype=np.uint64 if values.dtype == np.uint64 else np.int64)
    np.cumsum(values, out=totals[1:])
    return totals[offsets[1:]] - totals[offsets[:-1]]
