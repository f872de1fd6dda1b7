"""What training left: the model of a run folder and its tokenizer."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.folder import RunFolder


def load_trained_run(
    run: RunFolder, weights: str = "best", backbone: Path | None = None
) -> tuple[AdaptedModel, PreTrainedTokenizerBase]:
    """Loads a run's weights, on the CPU, in evaluation mode, and its tokenizer.

    Args:
        run: the folder, or an export that holds a model of ours.
        weights: `best` or `last`.
        backbone: a folder with the model it was trained on, where that is no longer where it was.

    Raises:
        InputError: there are none yet, they are damaged, or the backbone is not the one they were trained on.
    """
    folder = run.weights(weights)
    elsewhere = None if backbone is None else load_backbone(BackboneSource(str(backbone)))
    model = AdaptedModel.from_pretrained(folder, elsewhere).eval()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # OSError, ValueError, and what the tokenizers library raises of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder}: no tokenizer that can be loaded ({reason})") from error
    return model, tokenizer
