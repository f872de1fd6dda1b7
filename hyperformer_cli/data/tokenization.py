"""Token ids of a whole split, kept on disk under the hash of all that determines them."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from hyperformer_cli.data.encoding import Encoding
from hyperformer_cli.data.sources import Rows
from hyperformer_cli.data.token_table import IdLists, TokenizedRows, read_token_table, write_token_table
from hyperformer_cli.errors import HyperformerError, InputError, WriteError
from hyperformer_cli.storage.cache import cache_root
from hyperformer_cli.tasks.conversation import Conversation
from hyperformer_cli.tasks.task import Task

FORMAT_VERSION = 3
_log = logging.getLogger(__name__)
_CHUNK = 4096  # rows tokenised at a time


@dataclass(frozen=True)
class TokenizedSplit:
    """Examples of one task's split.

    Attributes:
        table: columns `input_ids` and `target_ids` (lists of int32) and `target` (text).
        rows: which of the table's rows, in order.
        fingerprint, commit: of the rows that were tokenised; see `data.sources.Rows`.
    """

    table: pa.Table
    rows: np.ndarray
    fingerprint: str
    commit: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, indices: Sequence[int] | np.ndarray) -> "TokenizedSplit":
        """The examples at `indices`, in their order."""
        return replace(self, rows=self.rows[np.asarray(indices, dtype=np.int64)])

    def input_ids(self, index: int) -> np.ndarray:
        return self._inputs[self.rows[index]]

    def target_ids(self, index: int) -> np.ndarray:
        return self._targets[self.rows[index]]

    def targets(self) -> list[str]:
        return self.table["target"].take(pa.array(self.rows)).to_pylist()

    def input_lengths(self) -> np.ndarray:
        """Tokens of every example's input."""
        return self._inputs.lengths()[self.rows]

    @cached_property
    def _inputs(self) -> IdLists:
        return IdLists(self.table["input_ids"])

    @cached_property
    def _targets(self) -> IdLists:
        return IdLists(self.table["target_ids"])


@dataclass(frozen=True)
class Tokenization:
    """The way from text to token ids: everything besides the rows that the cache's key depends on."""

    encoding: Encoding
    max_source_length: int
    max_target_length: int
    task_prefix: bool

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.encoding.tokenizer

    def apply(self, task: Task, rows: Rows) -> TokenizedSplit:
        """Tokenises every row of a split, or reads what an earlier call with the same content left.

        Raises:
            InputError: a row without text, or with a label that the task does not have; file and row are named.
        """
        cached = cache_folder() / f"{self._key(task, rows)}.tokens"
        table = read_token_table(cached)
        if table is None:
            try:
                write_token_table(cached, self._tokenize(task, rows))
            except WriteError as error:
                raise WriteError(error.errno or 0, f"{cached.parent} (HYPERFORMER_CACHE)") from error
            except OSError as error:
                reason = f"cannot be written ({error.strerror}); set HYPERFORMER_CACHE"
                raise InputError(f"{cached.parent}: {reason}") from error
            table = read_token_table(cached)
            if table is None:
                raise HyperformerError(
                    f"{cached}: differs from what was written; set HYPERFORMER_CACHE to another disk"
                )
        self._name_cut_targets(task, rows, table)
        return TokenizedSplit(table, np.arange(table.num_rows), rows.fingerprint, rows.commit)

    def _name_cut_targets(self, task: Task, rows: Rows, table: pa.Table) -> None:
        """Logs how many targets are too long, and so have no end token."""
        if cut := self.encoding.count_cut(IdLists(table["target_ids"]).last()):
            _log.warning(
                "%s: %d of %d targets of task '%s' are longer than %d tokens and lose their end; raise "
                "data.max_target_length (or the task's max_target_length)",
                rows.origin, cut, table.num_rows, task.name, self.target_length(task),
            )  # fmt: skip

    def _tokenize(self, task: Task, rows: Rows) -> Iterator[TokenizedRows]:
        known: dict[str, list[int]] = {}  # a task has few labels, but may have as many texts as rows
        for texts, targets in formatted_rows(task, rows, self.task_prefix):
            known = known if len(known) < _CHUNK else {}
            new = list(dict.fromkeys(text for text in targets if text not in known))
            known |= zip(new, self.target_ids(task, new), strict=True)
            inputs = self.encoding.inputs(texts, self.max_source_length)
            yield TokenizedRows(inputs, [known[text] for text in targets], targets)
        if self.tokenizer.is_fast:  # else it would be saved with the last length, where the cache held nothing
            self.tokenizer.backend_tokenizer.no_truncation()

    def target_length(self, task: Task) -> int:
        """Tokens at which the targets are cut. The reference's collator also cuts a translation's 300 at 128."""
        if task.is_free_text:
            return min(task.max_target_length or self.max_target_length, self.max_target_length)
        return task.max_target_length or self.max_target_length

    def target_ids(self, task: Task, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of a task's targets, with the end-of-sequence token."""
        return self.encoding.targets(texts, self.target_length(task)) if texts else []  # tokenizers fail without any

    def _key(self, task: Task, rows: Rows) -> str:
        parts = (
            FORMAT_VERSION, rows.fingerprint, tokenizer_fingerprint(self.tokenizer), self.max_source_length,
            self.target_length(task), self.task_prefix and (task.prefix or task.name),
            task.template, task.target, task.messages, task.label_texts, task.label_values, task.label_column,
            task.range, self.encoding.key,
        )  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


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


def formatted_rows(task: Task, rows: Rows, prefix: bool) -> Iterator[tuple[list[str | Conversation], list[str]]]:
    """Inputs and target texts, some thousand rows at a time; `prefix` puts the task's name before an input.

    Raises:
        InputError: a row without text or label, or with another label than the task's; naming file, row and column.
    """
    number = 0  # of the row, from 1
    for batch in rows.table.select(task.columns).to_batches(max_chunksize=_CHUNK):
        texts: list[str | Conversation] = []
        targets: list[str] = []
        for row in batch.to_pylist():
            number += 1
            try:
                if not task.is_free_text and row[task.label_column] is None:
                    raise InputError(f"column '{task.label_column}' is empty")
                targets.append(task.target_text(row))
                texts.append(task.model_input(row, prefix))
            except InputError as error:
                raise InputError(f"{rows.origin}: row {number}: {error}") from error
        yield texts, targets
