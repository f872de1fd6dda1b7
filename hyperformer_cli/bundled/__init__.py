"""Data and weights of the embedded default: a miniature GLUE over generated English, and two nano models for it.

`data.source: bundled` reads `<task>/<split>.parquet` in this folder; `model.name: bundled` reads `nano_t5/`, and
`model.name: bundled-lm` reads `nano_lm/`, a decoder-only model. All were made by `tools/miniature` in the repository,
and none is for real use.
"""

from pathlib import Path

BUNDLED = "bundled"
BUNDLED_LM = "bundled-lm"


def data_folder() -> Path:
    """The folder of the bundled rows: one folder per task, one parquet file per split."""
    return Path(__file__).parent


def model_folder() -> Path:
    """The folder of the pretrained nano T5 and its tokenizer."""
    return data_folder() / "nano_t5"


def language_model_folder() -> Path:
    """The folder of the pretrained nano language model and its tokenizer."""
    return data_folder() / "nano_lm"


def is_bundled_model(name: str | None) -> bool:
    """Whether a model's name is that of a nano model of the package."""
    return name in (BUNDLED, BUNDLED_LM)


def folder_of(name: str) -> str:
    """A nano model's folder for `bundled` and `bundled-lm`; the name of any other model as it is."""
    return str({BUNDLED: model_folder(), BUNDLED_LM: language_model_folder()}.get(name, name))
