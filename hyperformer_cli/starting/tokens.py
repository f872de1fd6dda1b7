"""What a tokenizer makes of labels and inputs: label texts of one piece, lengths that hold nearly all of the data."""

import string
from collections.abc import Iterator, Sequence

import numpy as np

from hyperformer_cli.data.encoding import Encoding
from hyperformer_cli.data.examined import UNLIMITED

MOST_SAMPLED = 20_000  # rows whose length is looked at
_MOST_TOKENS = 512  # longer inputs cost more than what they hold is worth, as a start
_STEP = 16  # lengths are multiples of it
_MOST_DIGITS = 1000


def label_texts(labels: Sequence[str], encoding: Encoding) -> list[str]:
    """What the model writes for each label: the labels where each is one piece, else digits (or letters) that are.

    Labels for which the tokenizer has not enough of these stay as they are.
    """
    if all(_pieces(label, encoding) == 1 for label in labels):
        return list(labels)
    for most in (1, 2):
        found = []
        for text in _short_texts():
            if 0 < _pieces(text, encoding) <= most:
                found.append(text)
            if len(found) == len(labels):
                return found
    return list(labels)


def _short_texts() -> Iterator[str]:
    yield from map(str, range(_MOST_DIGITS))
    yield from string.ascii_lowercase


def _pieces(text: str, encoding: Encoding) -> int:
    """The pieces of a label; 0 if what the model would write cannot be read as the label again."""
    tokenizer = encoding.tokenizer
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    ids = [number for number in encoding.targets([text], UNLIMITED)[0] if number not in special]
    (read,) = tokenizer.batch_decode([ids], skip_special_tokens=True)
    return len(ids) if read.strip() == text else 0


def lengths_of(texts: Sequence[str], encoding: Encoding) -> np.ndarray:
    """Tokens of some of the texts, evenly chosen, with all that is put around each."""
    chosen = texts[:: max(1, len(texts) // MOST_SAMPLED)]
    return np.array([len(ids) for ids in encoding.inputs(chosen, UNLIMITED)])


def fitting_length(lengths: np.ndarray, most: int = _MOST_TOKENS) -> int:
    """A limit for inputs: the longest, if it is not far from what holds 99 % of them, else that; at most `most`."""
    nearly_all, longest = int(np.percentile(lengths, 99, method="inverted_cdf")), int(lengths.max())
    wanted = longest if longest <= 1.3 * nearly_all else nearly_all
    return min(-(-wanted // _STEP) * _STEP, most)


def longest_input(encoding: Encoding) -> int:
    """The most tokens that an input should have: what the tokenizer says its model takes, at most 512."""
    return min(_MOST_TOKENS, encoding.tokenizer.model_max_length)
