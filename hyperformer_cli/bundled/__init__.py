"""Data and weights of the embedded default: a nano T5 and a miniature GLUE over generated English.

`data.source: bundled` and `model.name: bundled` in a recipe mean this folder. `tools/` made it; nothing here is for
real use.
"""

from pathlib import Path

BUNDLED = "bundled"


def model_folder() -> Path:
    """The folder of the pretrained nano T5 and its tokenizer."""
    return Path(__file__).parent / "nano_t5"


def folder_of(name: str) -> str:
    """The nano T5's folder for `bundled`, any other name of a model as it is."""
    return str(model_folder()) if name == BUNDLED else name
