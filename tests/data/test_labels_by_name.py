"""Label numbers whose order in a file is not the task's: mapped by what the file says that they mean."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.tasks.registry import get_task

TODAY = ["ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"]
OF_THE_PAPER = ["DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC"]


def written(folder: Path, names: list[str] | None, labels: list[int]) -> str:
    """TREC as a parquet file, with what `datasets` says of its labels."""
    table = pa.table({"text": [f"question {i}" for i in labels], "coarse_label": labels})
    if names is not None:
        features = {
            "text": {"dtype": "string", "_type": "Value"},
            "coarse_label": {"names": names, "_type": "ClassLabel"},
        }
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (folder / "trec").mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, folder / "trec" / "train.parquet")
    return str(folder)


def targets(source: str) -> list[str]:
    task = get_task("trec")
    return [task.target_text(row) for row in load_rows(task, "train", source).table.to_pylist()]


def test_the_model_writes_the_numbers_of_the_papers_days(tmp_path: Path) -> None:
    by_name = {name: str(number) for number, name in enumerate(OF_THE_PAPER)}
    for names in (TODAY, OF_THE_PAPER, [name.lower() for name in OF_THE_PAPER]):
        folded = [name.upper() for name in names]
        assert targets(written(tmp_path, names, list(range(6)))) == [by_name[name] for name in folded]
    assert targets(written(tmp_path, None, list(range(6)))) == [by_name[name] for name in TODAY]


def test_other_names_leave_the_numbers_alone(tmp_path: Path) -> None:
    plain = targets(written(tmp_path, None, list(range(6))))
    assert targets(written(tmp_path, ["a", "b", "c", "d", "e", "f"], list(range(6)))) == plain


def test_a_mapped_file_is_other_content_and_its_faults_are_named(tmp_path: Path) -> None:
    task = get_task("trec")
    plain = load_rows(task, "train", written(tmp_path / "a", TODAY, [0, 1, 2]))
    mapped = load_rows(task, "train", written(tmp_path / "b", OF_THE_PAPER, [0, 1, 2]))
    assert plain.fingerprint != mapped.fingerprint
    with pytest.raises(InputError, match="label '6'"):
        targets(written(tmp_path / "c", OF_THE_PAPER, [0, 6]))
    with pytest.raises(InputError, match="label '-1'"):
        targets(written(tmp_path / "d", OF_THE_PAPER, [-1, 1]))
