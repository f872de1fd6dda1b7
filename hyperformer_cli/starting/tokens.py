"""What a tokenizer makes of labels and inputs: label texts of one piece, lengths that hold nearly all of the data."""

import string
from collections.abc import Iterator, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

MOST_SAMPLED = 20_000  # rows whose length is looked at
_MOST_TOKENS = 512  # longer inputs cost more than what they hold is worth, as a start
_STEP = 16  # lengths are multiples of it
_MOST_DIGITS = 1000


def label_texts(labels: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What the model writes for each label: the labels where each is one piece, else digits (or letters) that are.

    Labels for which the tokenizer has not enough of these stay as they are.
    """
    if all(_pieces(label, tokenizer) == 1 and _is_spelled(label, tokenizer) for label in labels):
        return list(labels)
    for most in (1, 2):
        found = []
        for text in _short_texts():
            if _pieces(text, tokenizer) <= most and _is_spelled(text, tokenizer):
                found.append(text)
            if len(found) == len(labels):
                return found
    return list(labels)


def _short_texts() -> Iterator[str]:
    yield from map(str, range(_MOST_DIGITS))
    yield from string.ascii_lowercase


def _pieces(text: str, tokenizer: PreTrainedTokenizerBase) -> int:
    return len(_plain_ids(text, tokenizer))


def _plain_ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    return tokenizer(text_target=text, add_special_tokens=False)["input_ids"]


def _is_spelled(text: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether what the model would write can be read as the label again, as training demands."""
    return tokenizer.decode(_plain_ids(text, tokenizer), skip_special_tokens=True).strip() == text


def lengths_of(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Tokens of some of the texts, evenly chosen, with what the tokenizer adds to each."""
    chosen = texts[:: max(1, len(texts) // MOST_SAMPLED)]
    return np.array([len(ids) for ids in tokenizer(list(chosen))["input_ids"]])


def fitting_length(lengths: np.ndarray, most: int = _MOST_TOKENS) -> int:
    """A limit for inputs: the longest, if it is not far from what holds 99 % of them, else that; at most `most`."""
    nearly_all, longest = int(np.percentile(lengths, 99, method="inverted_cdf")), int(lengths.max())
    wanted = longest if longest <= 1.3 * nearly_all else nearly_all
    return min(-(-wanted // _STEP) * _STEP, most)


def longest_input(tokenizer: PreTrainedTokenizerBase) -> int:
    """The most tokens that an input should have: what the tokenizer says its model takes, at most 512."""
    return min(_MOST_TOKENS, tokenizer.model_max_length)
