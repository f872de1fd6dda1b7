"""Data and weights of the embedded default: a miniature GLUE over generated English, and a nano T5 for it.

`data.source: bundled` reads `<task>/<split>.parquet` in this folder, `model.name: bundled` reads `nano_t5/`. Both
were made by `tools/miniature` in the repository, and neither is for real use.
"""

from pathlib import Path

BUNDLED = "bundled"


def data_folder() -> Path:
    """The folder of the bundled rows: one folder per task, one parquet file per split."""
    return Path(__file__).parent


def model_folder() -> Path:
    """The folder of the pretrained nano T5 and its tokenizer."""
    return data_folder() / "nano_t5"


def folder_of(name: str) -> str:
    """The nano T5's folder for `bundled`; the name of any other model as it is."""
    return str(model_folder()) if name == BUNDLED else name
