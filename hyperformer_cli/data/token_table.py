"""Tables of token ids, made in bounded memory: ids are spooled to disk as they come, never kept as Python lists.

A file is a header with the SHA-256 of all that follows, which is an Arrow file with one chunk per column.
"""

import hashlib
import logging
import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import atomic_path, writing

_HEADER = b"hyperformer tokens".ljust(32)  # then the SHA-256
_START = len(_HEADER) + hashlib.sha256().digest_size  # of the Arrow file: it must be aligned to 64 bytes, and is
_MOST_TOKENS = 2**31 - 1  # that Arrow's lists can hold
_log = logging.getLogger(__name__)


class TokenizedRows(NamedTuple):
    """Some consecutive rows: the ids of their inputs and of their targets, and the targets' texts."""

    input_ids: Sequence[Sequence[int]]
    target_ids: Sequence[Sequence[int]]
    targets: Sequence[str]


def write_token_table(path: Path, parts: Iterable[TokenizedRows]) -> None:
    """Writes `input_ids` and `target_ids` (lists of int32) and `target` (text) of all rows.

    Raises:
        InputError: more tokens than a table can hold.
        OSError: they cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path), _Spool(path.parent) as inputs, _Spool(path.parent) as target_ids:
        texts = []
        for part in parts:
            inputs.add(part.input_ids)
            target_ids.add(part.target_ids)
            texts.append(pa.array(part.targets, pa.string()))
        target = pa.chunked_array(texts, pa.string()).combine_chunks()
        table = pa.table({"input_ids": inputs.array(), "target_ids": target_ids.array(), "target": target})
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(bytes(_START))
            sink = _HashedFile(file)
            with pa.ipc.new_file(pa.PythonFile(sink, "w"), table.schema) as writer:
                writer.write_table(table)
            file.seek(0)
            file.write(_HEADER + sink.digest.digest())


def read_token_table(path: Path) -> pa.Table | None:
    """A table, mapped into memory; None if it is missing or damaged, which is logged.

    Its checksum is verified every time: 100 MB, more than GLUE's longest split, take about 0.1 s.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_START)
            is_whole = header == _HEADER + hashlib.file_digest(file, "sha256").digest()
        if is_whole:
            return pa.ipc.open_file(pa.memory_map(str(path)).read_buffer()[_START:]).read_all()
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException) as error:
        _log.warning("%s: the cached tokens cannot be read (%s); they are made anew", path, error)
        return None
    _log.warning("%s: the cached tokens are damaged; they are made anew", path)
    return None


class _Spool:
    """Lists of ids in a file without a name, which is gone when the block ends."""

    def __init__(self, folder: Path):
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._lengths: list[np.ndarray] = []
        self._total = 0

    def __enter__(self) -> "_Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: Sequence[Sequence[int]]) -> None:
        lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        count = int(lengths.sum())
        self._total += count
        if self._total > _MOST_TOKENS:
            raise InputError(
                f"more than {_MOST_TOKENS:,} tokens in one split; divide the task's file into several tasks"
            )
        self._lengths.append(lengths)
        self._file.write(np.fromiter(chain.from_iterable(rows), np.int32, count).tobytes())

    def array(self) -> pa.Array:
        """All lists, their ids mapped from the file."""
        self._file.flush()
        offsets = np.zeros(sum(map(len, self._lengths)) + 1, np.int32)
        np.cumsum(np.concatenate([*self._lengths, np.zeros(0, np.int32)]), out=offsets[1:])
        ids = np.memmap(self._file, np.int32, "r") if self._total else np.zeros(0, np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids))


class _HashedFile:
    """Writes to a file from where it stands, as if that were its beginning, and hashes what is written."""

    closed = False

    def __init__(self, file: IO[bytes]):
        self._file, self._start = file, file.tell()
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell() - self._start

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        pass
