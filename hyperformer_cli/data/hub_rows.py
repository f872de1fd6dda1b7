"""Rows of data sets on the hub: the only place where the project asks the hub for data.

`datasets` downloads a data set's configuration and leaves its splits as Arrow files. What it left is recorded in the
cache folder under the commit that the revision was then; later starts map these files and ask the hub nothing.
`datasets` runs no loading scripts: what was a script is read from the hub's own conversion, whose configurations are
folders (`data_dir`). A data set may have either form, and may change it.
"""

import hashlib
import json
import logging
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from hyperformer_cli.backbones import hub
from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.storage.cache import cache_root

CONVERTED = "refs/convert/parquet"  # the hub's own conversion
_OTHER_FORM = {CONVERTED: "main", "main": CONVERTED}
_ROWS = 4096  # hashed at a time
_log = logging.getLogger(__name__)


class HubRows(NamedTuple):
    """One split: its columns, a hash of their content, and the data set's commit (None for a folder)."""

    table: pa.Table
    fingerprint: str
    commit: str | None


def load_hub_rows(path: str, configuration: str | None, revision: str, split: str) -> HubRows:
    """One split of a data set on the hub, or of a folder laid out like one.

    Raises:
        InputError: no such data set, configuration, revision or split, or no answer from the hub and no copy on disk.
    """
    if Path(path).is_dir():
        table = _table(_prepared(path, configuration, revision, None), split)
        return HubRows(table, content_hash(table), None)
    record = _record(path, configuration, revision)
    known = _read(record, split)
    if known is not None and not hub.wants_refresh():
        return known
    try:
        commit, splits = _downloaded(path, configuration, revision)
    except hub.HubError as error:
        if known is not None and not error.is_final:
            _log.warning("%s: %s; the copy on this machine is used", path, error)
            return known
        if error.status is not None:
            raise InputError(str(error)) from error
        raise InputError(
            f"it is not on this machine and {error}; set data.source to a folder of files, or run once with a "
            "connection"
        ) from error
    if commit is not None:
        _keep(record, {"path": path, "configuration": configuration, "revision": revision, "commit": commit}, splits)
    table = _table(splits, split)
    return HubRows(table, content_hash(table), commit)


def _keep(record: Path, known: dict[str, str | None], splits: Any) -> None:
    """Records where the splits are; without effect where the cache folder cannot be written: the hub is asked again."""
    described = {}
    for name, dataset in splits.items():
        table = dataset.data.table
        described[name] = {"files": _files(dataset), "rows": table.num_rows, "fingerprint": content_hash(table)}
    with suppress(OSError):
        write_json(record, {**known, "splits": described})


def content_hash(table: pa.Table) -> str:
    """SHA-256 of the columns' names, types and values, however they are cut into chunks."""
    digest = hashlib.sha256(str(table.schema.remove_metadata()).encode())
    table = table.replace_schema_metadata(None)
    for start in range(0, table.num_rows, _ROWS):
        for column in table.slice(start, _ROWS).combine_chunks().columns:
            batch = pa.record_batch([_whole(column)], names=[""])
            digest.update(batch.serialize())
    return digest.hexdigest()


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)


@cache  # a branch that is to be resolved again is so once in a process
def _downloaded(path: str, configuration: str | None, revision: str) -> tuple[str | None, Any]:
    """The commit and the splits, in the form that the task names or in the other; no commit without the hub.

    Raises:
        HubError, InputError: for the form that the task names.
    """
    first: Exception | None = None
    for form in filter(None, (revision, _OTHER_FORM.get(revision))):
        try:
            commit = hub.ask_commit(path, form, "dataset")
        except hub.HubError as error:
            if hub.is_offline():  # then the library finds what another program left on disk, and asks nobody
                with suppress(InputError, hub.HubError):
                    return None, _prepared(path, configuration, form, form)
            if error.status != 404:
                raise first or error from None
            first = first or error
            continue
        try:
            return commit, _prepared(path, configuration, form, commit)
        except InputError as error:
            first = first or error
    assert first is not None
    raise first


def _prepared(path: str, configuration: str | None, form: str, revision: str | None) -> Any:
    """All splits, downloaded and written as Arrow files where they are not yet.

    Raises:
        InputError: they have no such form, or the data are not what they say.
        HubError: the hub did not give them.
    """
    import datasets  # takes a second

    selection = {"data_dir": configuration} if form == CONVERTED else {"name": configuration}
    try:
        splits = datasets.load_dataset(path, revision=revision or form, **selection)
    except Exception as error:  # the library lets through whatever its file systems raise
        reason = hub.as_hub_error(error)
        if reason.status is not None or hub.is_silent():
            raise reason from error
        raise InputError(hub.first_lines(error)) from error
    if hub.is_commit(revision):
        for dataset in splits.values():
            if any(revision not in Path(file["filename"]).parts for file in dataset.cache_files):
                # The library falls back to any older copy, in silence.
                raise hub.HubError(f"commit {revision} could not be downloaded completely; try again")
    return splits


def _table(splits: Any, split: str) -> pa.Table:
    if split not in splits:
        raise InputError(f"no split '{split}'; found: {', '.join(splits)}")
    return splits[split].data.table


def _record(path: str, configuration: str | None, revision: str) -> Path:
    from huggingface_hub import constants

    key = json.dumps([constants.ENDPOINT, path, configuration, revision])
    return cache_root() / "hub" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _files(dataset: Any) -> list[list[str | int]]:
    """Path, size and time of the last change of the Arrow files of a split."""
    paths = [Path(file["filename"]) for file in dataset.cache_files]
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]


def _read(record: Path, split: str) -> HubRows | None:
    """A split as it was recorded; None if it is not, or its files are not those any more."""
    with suppress(OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        known = json.loads(record.read_bytes())
        described = known["splits"][split]
        for path, size, changed in described["files"]:
            stat = Path(path).stat()
            if (stat.st_size, stat.st_mtime_ns) != (size, changed):
                return None
        tables = [pa.ipc.open_stream(pa.memory_map(path)).read_all() for path, _, _ in described["files"]]
        table = pa.concat_tables(tables)
        if table.num_rows == described["rows"]:
            return HubRows(table, described["fingerprint"], known["commit"])
    return None
