"""Tables of token ids, made in bounded memory: every part is on disk before the next one is made.

A file is a header with the SHA-256 of all that follows, which is an Arrow file.
"""

import hashlib
import logging
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from hyperformer_cli.storage.atomic import atomic_path

_HEADER = b"hyperformer tokens".ljust(32)  # then the SHA-256
_START = len(_HEADER) + hashlib.sha256().digest_size  # of the Arrow file: it must be aligned to 64 bytes, and is
_IDS = pa.list_(pa.int32())
_SCHEMA = pa.schema({"input_ids": _IDS, "target_ids": _IDS, "target": pa.string()})
_log = logging.getLogger(__name__)


class TokenizedRows(NamedTuple):
    """Some consecutive rows: the ids of their inputs and of their targets, and the targets' texts."""

    input_ids: Sequence[Sequence[int]]
    target_ids: Sequence[Sequence[int]]
    targets: Sequence[str]


def write_token_table(path: Path, parts: Iterable[TokenizedRows]) -> None:
    """Writes `input_ids` and `target_ids` (lists of int32) and `target` (text) of all rows, one chunk for each part.

    Raises:
        OSError: they cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(bytes(_START))
        sink = _HashedFile(file)
        with pa.ipc.new_file(pa.PythonFile(sink, "w"), _SCHEMA) as writer:
            for part in parts:
                columns = [_lists(part.input_ids), _lists(part.target_ids), pa.array(part.targets, pa.string())]
                writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
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


class IdLists:
    """A column of lists of ids, and where in its chunks each row lies."""

    def __init__(self, column: pa.ChunkedArray):
        self._offsets = [chunk.offsets.to_numpy() for chunk in column.chunks]
        self._ids = [chunk.values.to_numpy() for chunk in column.chunks]
        self._starts = [0, *accumulate(len(chunk) for chunk in column.chunks)]  # the first row of each chunk

    def __getitem__(self, row: int) -> np.ndarray:
        chunk = bisect_right(self._starts, row) - 1
        offsets, row = self._offsets[chunk], row - self._starts[chunk]
        return self._ids[chunk][offsets[row] : offsets[row + 1]]

    def lengths(self) -> np.ndarray:
        """Ids of every row."""
        return np.concatenate([np.zeros(0, np.int32), *map(np.diff, self._offsets)])

    def last(self) -> np.ndarray:
        """The last id of every row, of which none is empty."""
        return np.concatenate(
            [
                np.zeros(0, np.int32),
                *(ids[offsets[1:] - 1] for ids, offsets in zip(self._ids, self._offsets, strict=True)),
            ]
        )


def _lists(rows: Sequence[Sequence[int]]) -> pa.Array:
    offsets = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, rows), np.int32, len(rows)), out=offsets[1:])
    ids = np.fromiter(chain.from_iterable(rows), np.int32, offsets[-1])
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
