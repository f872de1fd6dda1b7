"""Token ids of a whole split in two flat arrays, kept on disk under the hash of all that determines them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from hyperformer_cli.data.sources import Rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import atomic_path
from hyperformer_cli.storage.cache import cache_root
from hyperformer_cli.tasks.task import Task

FORMAT_VERSION = 1
_CHUNK = 4096  # rows tokenised at a time


@dataclass(frozen=True)
class TokenizedSplit:
    """Examples of one task's split.

    Attributes:
        table: columns `input_ids` and `target_ids` (lists of int32) and `target` (text), one chunk each.
        rows: which of the table's rows, in order.
        fingerprint: of the rows that were tokenised; see `data.sources.Rows`.
    """

    table: pa.Table
    rows: np.ndarray
    fingerprint: str

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, indices: Sequence[int] | np.ndarray) -> "TokenizedSplit":
        """The examples at `indices`, in their order."""
        return replace(self, rows=self.rows[np.asarray(indices, dtype=np.int64)])

    def input_ids(self, index: int) -> np.ndarray:
        return self._slice("input_ids", index)

    def target_ids(self, index: int) -> np.ndarray:
        return self._slice("target_ids", index)

    def targets(self) -> list[str]:
        return self.table["target"].take(pa.array(self.rows)).to_pylist()

    def input_lengths(self) -> np.ndarray:
        """Tokens of every example's input."""
        return np.diff(self._offsets("input_ids"))[self.rows]

    def _slice(self, column: str, index: int) -> np.ndarray:
        offsets, row = self._offsets(column), self.rows[index]
        return self.table[column].chunk(0).values.to_numpy()[offsets[row] : offsets[row + 1]]

    def _offsets(self, column: str) -> np.ndarray:
        return self.table[column].chunk(0).offsets.to_numpy()


@dataclass(frozen=True)
class Tokenization:
    """The way from text to token ids: everything besides the rows that the cache's key depends on."""

    tokenizer: PreTrainedTokenizerBase
    max_source_length: int
    max_target_length: int
    task_prefix: bool

    def apply(self, task: Task, rows: Rows) -> TokenizedSplit:
        """Tokenises every row of a split, or reads what an earlier call with the same content left.

        Raises:
            InputError: a row without text, or with a label that the task does not have; file and row are named.
        """
        cached = cache_folder() / f"{self._key(task, rows)}.arrow"
        try:
            table = _map(cached)
        except (OSError, pa.ArrowException):  # missing, or cut off
            made = self._tokenize(task, rows)
            try:
                with atomic_path(cached) as temporary, pa.ipc.new_file(str(temporary), made.schema) as writer:
                    writer.write_table(made)
            except OSError as error:
                reason = f"cannot be written ({error.strerror}); set HYPERFORMER_CACHE"
                raise InputError(f"{cached.parent}: {reason}") from error
            table = _map(cached)
        return TokenizedSplit(table, np.arange(table.num_rows), rows.fingerprint)

    def _tokenize(self, task: Task, rows: Rows) -> pa.Table:
        inputs: list[list[int]] = []
        target_texts: list[str] = []
        for texts, targets in _formatted(task, rows, self.task_prefix):
            inputs += self.tokenizer(texts, max_length=self.max_source_length, truncation=True)["input_ids"]
            target_texts += targets
        distinct = list(dict.fromkeys(target_texts))
        length = task.max_target_length or self.max_target_length
        encoded = self.tokenizer(text_target=distinct, max_length=length, truncation=True)["input_ids"]
        ids = dict(zip(distinct, encoded, strict=True))
        tokens = pa.list_(pa.int32())
        table = {
            "input_ids": pa.array(inputs, tokens),
            "target_ids": pa.array([ids[text] for text in target_texts], tokens),
            "target": pa.array(target_texts, pa.string()),
        }
        return pa.table(table).combine_chunks()

    def _key(self, task: Task, rows: Rows) -> str:
        parts = (
            FORMAT_VERSION, rows.fingerprint, tokenizer_fingerprint(self.tokenizer), self.max_source_length,
            task.max_target_length or self.max_target_length, self.task_prefix and (task.prefix or task.name),
            task.template, task.target, task.label_texts, task.label_values, task.label_column, task.range,
        )  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _map(path: Path) -> pa.Table:
    """A cached table, mapped into memory."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def cache_folder() -> Path:
    """Where tokenised splits are kept."""
    return cache_root() / "tokenized"


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of the tokenizer's model, not of its present truncation and padding."""
    if tokenizer.is_fast:
        state: Any = json.loads(tokenizer.backend_tokenizer.to_str())
        state = {key: value for key, value in state.items() if key not in ("truncation", "padding")}
    else:
        state = [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _formatted(task: Task, rows: Rows, prefix: bool) -> Iterator[tuple[list[str], list[str]]]:
    """Input and target texts, some thousand rows at a time."""
    number = 0
    for batch in rows.table.select(task.columns).to_batches(max_chunksize=_CHUNK):
        texts, targets = [], []
        for row in batch.to_pylist():
            try:
                empty = [column for column in task.columns if row[column] is None]
                if empty:
                    raise InputError(f"column '{empty[0]}' is empty")
                targets.append(task.target_text(row))
                texts.append(task.input_text(row, prefix))
            except InputError as error:
                raise InputError(f"{rows.origin}: row {number}: {error}") from error
            except (LookupError, TypeError) as error:
                raise InputError(f"{rows.origin}: row {number}: the template finds no {error} in it") from error
            number += 1
        yield texts, targets
