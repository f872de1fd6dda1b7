"""The bundled miniature: a nano T5 and a small GLUE over generated English, so that the method can be seen to learn
on a machine without network, in two minutes on two cores.

    lexicon, language, edits    the words, how clauses are put into words, how they are changed or spoiled
    sentences, pairs, entailment, transfer    the tasks' rows
    tasks    the declarations, and `rows(task, split)`
    auxiliary, pretrain    the text and the training that made `nano_t5/`

`data.source: bundled` and `model.name: bundled` in a recipe mean this folder. Nothing here is for real use.
"""

from pathlib import Path

BUNDLED = "bundled"


def model_folder() -> Path:
    """The folder of the pretrained nano T5 and its tokenizer."""
    return Path(__file__).parent / "nano_t5"


def folder_of(name: str) -> str:
    """The nano T5's folder for `bundled`, any other name of a model as it is."""
    return str(model_folder()) if name == BUNDLED else name
