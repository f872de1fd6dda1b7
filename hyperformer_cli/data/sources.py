"""Where rows come from: a folder of files in the hub's column schema, the hub, or the bundled miniature."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pyarrow import compute, csv, parquet

from hyperformer_cli.bundled import BUNDLED, data_folder
from hyperformer_cli.data.hub_rows import load_hub_rows
from hyperformer_cli.data.json_lines import read_json_lines
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.storage.manifest import sha256_of_file
from hyperformer_cli.tasks.task import Task
from hyperformer_cli.tasks.template import template_parts

_SUFFIXES = (".parquet", ".jsonl", ".csv", ".tsv")
_PARQUET_ROWS = 65_536  # read at a time


@dataclass(frozen=True)
class Rows:
    """One split of a data set.

    Attributes:
        table: its columns.
        origin: file, or data set and split: what messages call it.
        fingerprint: changes whenever the content does.
        commit: of the data set on the hub, if the rows are from there.
    """

    table: pa.Table
    origin: str
    fingerprint: str
    commit: str | None = None

    def take(self, numbers: Sequence[int]) -> "Rows":
        """Some of the rows, in the order of their numbers."""
        digest = hashlib.sha256(json.dumps([self.fingerprint, list(numbers)]).encode()).hexdigest()
        return Rows(self.table.take(list(numbers)), f"{self.origin} ({len(numbers)} drawn rows)", digest)


def load_rows(task: Task, split: str, source: str) -> Rows:
    """Loads one split of a task's data set, with all its columns.

    Args:
        task: the declaration.
        split: the data set's own name for the split.
        source: `hub`, `bundled`, or a folder of `<task>/<split>.parquet|jsonl|csv|tsv`.

    Raises:
        InputError: no such file, an unreadable one, a missing column, no rows, or the hub out of reach.
    """
    if task.files is not None:
        rows = _from_file(task, Path(task.files[split]))
    elif source == "hub":
        rows = _from_hub(task, split)
    elif source == BUNDLED:
        rows = _bundled(task, split)
    else:
        rows = _from_folder(task, split, Path(source))
    names = rows.table.column_names
    for column in task.columns:
        if names.count(column) > 1:
            raise InputError(f"{rows.origin}: duplicate column '{column}'")
        if column not in names:
            found = ", ".join(names)
            raise InputError(f"{rows.origin}: no column '{column}', which task '{task.name}' needs; found: {found}")
    rows = _with_labels_by_name(task, rows)
    if task.drops_unlabelled:
        labelled = compute.not_equal(rows.table[task.label_column].cast(pa.string()), "-1")
        digest = hashlib.sha256(f"{rows.fingerprint}, labelled".encode()).hexdigest()  # it is other content
        rows = replace(rows, table=rows.table.filter(labelled), fingerprint=digest)
    for column in task.text_columns:
        if not _is_text(rows.table.schema.field(column).type):
            raise InputError(f"{rows.origin}: column '{column}' is not UTF-8 text")
    if rows.table.num_rows == 0:
        raise InputError(f"{rows.origin}: has no rows")
    return rows


def _with_labels_by_name(task: Task, rows: Rows) -> Rows:
    """Rows whose label numbers mean what they mean to the task, where the file says what its numbers mean.

    The order of a data set's labels may change: TREC's on the hub is not that of the paper's days.
    """
    column, declared = task.label_column, [_folded(name) for name in task.label_names]
    found = [_folded(name) for name in _label_names(rows.table, column)]
    values = list(task.label_values)
    if found == declared or sorted(found) != sorted(declared) or not pa.types.is_integer(rows.table[column].type):
        return rows
    meant = pa.array([values[declared.index(name)] for name in found])
    numbers = rows.table[column]
    in_range = compute.and_(compute.greater_equal(numbers, 0), compute.less(numbers, len(found)))
    texts = compute.take(meant, compute.if_else(in_range, numbers, None))
    labels = compute.if_else(in_range, texts, numbers.cast(pa.string()))  # what is out of range is refused later
    table = rows.table.set_column(rows.table.column_names.index(column), column, labels)
    digest = hashlib.sha256(json.dumps([rows.fingerprint, found, declared, values]).encode()).hexdigest()
    return replace(rows, table=table.replace_schema_metadata(None), fingerprint=digest)


def _label_names(table: pa.Table, column: str) -> list[str]:
    """What the numbers of a column mean, by what `datasets` writes into Arrow and parquet files; empty if unknown."""
    try:
        stated = json.loads((table.schema.metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(name) for name in stated] if isinstance(stated, list) else []


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def _from_folder(task: Task, split: str, root: Path) -> Rows:
    if not root.is_dir():
        raise InputError(f"data.source: '{root}' is neither 'hub' nor 'bundled' nor a folder")
    folder = root / task.name
    if not folder.is_dir():
        present = [path.name for path in root.iterdir() if path.is_dir()]
        raise InputError(f"data.source: {root} has no folder '{task.name}'; {did_you_mean(task.name, present)}")
    found = [path for suffix in _SUFFIXES if (path := folder / f"{split}{suffix}").is_file()]
    if not found:
        present = sorted(path.name for path in folder.iterdir())
        raise InputError(
            f"{folder}: no {split}.parquet, .jsonl, .csv or .tsv; found: {', '.join(present) or 'nothing'}"
        )
    return _from_file(task, found[0])


def _from_file(task: Task, path: Path) -> Rows:
    if path.suffix not in _SUFFIXES:
        raise InputError(f"{path}: task '{task.name}' reads {', '.join(_SUFFIXES)} files")
    if not path.is_file():
        raise InputError(f"{path}: task '{task.name}': no such file, seen from {Path.cwd()}")
    try:
        table = _read(path, task)
    except InputError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    return Rows(table, str(path), sha256_of_file(path))


def _read(path: Path, task: Task) -> pa.Table:
    if path.suffix == ".parquet":
        return _read_parquet(path)
    block = max(1 << 20, min(path.stat().st_size, 2**31 - 1))  # bytes, in which a row must fit
    if path.suffix == ".jsonl":
        fields = [] if task.messages else template_parts(task.template + (task.target or ""))
        return read_json_lines(path, task.columns, {column for _, column, keys in fields if column and not keys})
    # GLUE's own TSV files know no quotes: a sentence may begin with one and never close it.
    tab = path.suffix == ".tsv"
    layout = {"delimiter": "\t", "quote_char": False} if tab else {"newlines_in_values": True}
    # Not typed by what they look like: a sentence may be a number.
    text = [*task.text_columns, *([task.label_column] if task.kind == "labels" else [])]
    return csv.read_csv(
        path,
        read_options=csv.ReadOptions(block_size=block),
        parse_options=csv.ParseOptions(**layout),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(text, pa.string())),
    )


def _read_parquet(path: Path) -> pa.Table:
    """The whole file, part by part on one core: `read_table` takes twice the memory of what it returns."""
    with parquet.ParquetFile(path, pre_buffer=False) as file:
        return pa.Table.from_batches(file.iter_batches(_PARQUET_ROWS, use_threads=False), file.schema_arrow)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_text(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_text(kind.field(i).type) for i in range(kind.num_fields))
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _bundled(task: Task, split: str) -> Rows:
    """The rows of `bundled/`, which `tools/miniature` generated."""
    files = {(path.parent.name, path.stem): path for path in data_folder().glob("*/*.parquet")}
    tasks, splits = {name for name, _ in files}, {name for _, name in files}
    name = task.configuration or task.name  # a copy of a bundled task has another name
    if name not in tasks:
        raise InputError(f"no bundled task '{name}'; {did_you_mean(name, tasks)}")
    if split not in splits:
        raise InputError(f"no bundled split '{split}'; {did_you_mean(split, splits)}")
    return replace(_from_file(task, files[name, split]), origin=f"bundled {task.name} ({split})")


def _from_hub(task: Task, split: str) -> Rows:
    if task.path is None:
        raise InputError(f"data.source: task '{task.name}' is not on the hub; give it files, or data.source a folder")
    if task.path == BUNDLED:
        raise InputError(f"data.source: task '{task.name}' is not on the hub; set data.source=bundled")
    try:
        found = load_hub_rows(task.path, task.configuration, task.revision, split)
    except InputError as error:
        origin = "/".join(filter(None, (task.path, task.configuration)))
        raise InputError(f"task '{task.name}': data set {origin} (split {split}): {error}") from error
    return Rows(found.table, f"{task.path} ({split})", found.fingerprint, found.commit)
