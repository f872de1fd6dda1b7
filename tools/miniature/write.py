"""Writes the rows of the miniature:   python -m tools.miniature.write

One parquet file per task and split, with the columns that the tasks' declarations name. The rows are the same
everywhere; the bytes of the files depend on the version of pyarrow.
"""

import argparse
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from hyperformer_cli.bundled import data_folder
from tools.miniature.rows import MINIATURE, rows


def write(folder: Path) -> int:
    """Writes every split of every task to `folder/<task>/<split>.parquet`. Returns the size of the files in bytes."""
    size = 0
    for name, task in MINIATURE.items():
        for split in task.sizes:
            path = folder / name / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            # A dictionary of texts, of which hardly one repeats, would only add to the size.
            options = {"compression": "zstd", "compression_level": 19, "use_dictionary": [task.label_column]}
            parquet.write_table(pa.Table.from_pylist(rows(name, split)), path, **options)
            size += path.stat().st_size
    return size


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the rows of the bundled miniature.")
    parser.add_argument("--to", type=Path, default=data_folder(), help="where to write them")
    folder = parser.parse_args().to
    print(f"{folder}: {write(folder):,} bytes")
