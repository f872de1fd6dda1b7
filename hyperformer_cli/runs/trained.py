"""What training left: the model of a run folder and its tokenizer."""

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.adapters.pretrained import CONFIG_FILE
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.folder import RunFolder


def load_trained_run(run: RunFolder, weights: str = "best") -> tuple[AdaptedModel, PreTrainedTokenizerBase]:
    """Loads a run's weights, on the CPU, in evaluation mode.

    Args:
        run: the folder.
        weights: `best` or `last`.

    Raises:
        InputError: there are none yet, or they are damaged.
    """
    saved = run.best if weights == "best" else run.last
    if not (saved / CONFIG_FILE).is_file():
        raise InputError(f"{run.path}: no {saved.name}/ weights yet; the run has not been evaluated")
    return AdaptedModel.from_pretrained(saved).eval(), AutoTokenizer.from_pretrained(saved)
