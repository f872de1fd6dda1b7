"""What training left: the model of a run folder and its tokenizer."""

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.folder import RunFolder


def load_trained_run(run: RunFolder, weights: str = "best") -> tuple[AdaptedModel, PreTrainedTokenizerBase]:
    """Loads a run's weights, on the CPU, in evaluation mode, and its tokenizer.

    Args:
        run: the folder, or an export that holds a model of ours.
        weights: `best` or `last`.

    Raises:
        InputError: there are none yet, they are damaged, or the backbone is not the one they were trained on.
    """
    folder = run.weights(weights)
    model = AdaptedModel.from_pretrained(folder).eval()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # OSError, ValueError, and what the tokenizers library raises of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder}: no tokenizer that can be loaded ({reason})") from error
    return model, tokenizer
