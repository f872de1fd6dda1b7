"""Which columns hold text and label, what is to be predicted, and how its values are written."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.tasks.metrics import Kind

_LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "category",
    "priority",
    "sentiment",
    "intent",
    "topic",
    "target",
    "score",
    "y",
)
_TEXT_NAMES = ("text", "sentence", "title", "subject", "body", "message", "question", "premise", "hypothesis", "review")
_MOST_LABELS = 50  # values of a column that is taken for labels, if they make up a tenth of the rows or less
_WORDS, _CHARACTERS = 3, 20  # on average, in a column that is taken for text
FEWEST = 3  # rows of a label: one for each split
_UNTITLED = re.compile(r"[^\w-]+")

Values = Sequence[str]


def check_column(name: str, columns: Sequence[str], option: str) -> str:
    """The column, if it is there; an InputError with the nearest name if not."""
    if name not in columns:
        raise InputError(f"{option}: no column '{name}'; {did_you_mean(name, columns)}")
    return name


def guess_label(columns: Mapping[str, Values]) -> str:
    """The column to predict: one that is called so, or ends so (`ticket_priority`), or the only one with few values.

    Raises:
        InputError: none, or several.
    """
    named = [name for name in _LABEL_NAMES for column in columns if column.lower() == name]
    if named:
        return next(column for column in columns if column.lower() == named[0])
    few = {name: len(set(values)) for name, values in columns.items() if _has_few_values(values)}
    ending = [name for name in few if _UNTITLED.sub("_", name).lower().split("_")[-1] in _LABEL_NAMES]
    for found in (ending, few):
        if len(found) == 1:
            return next(iter(found))
    candidates = ", ".join(f"{name} ({count} values)" for name, count in few.items()) or ", ".join(columns)
    raise InputError(f"--label: say which column is to be predicted: {candidates}")


def guess_texts(columns: Mapping[str, Values], besides: Sequence[str]) -> list[str]:
    """The columns that the model reads: those that hold sentences, in the file's order.

    Raises:
        InputError: none does.
    """
    others = {name: values for name, values in columns.items() if name not in besides}
    found = [name for name, values in others.items() if name.lower() in _TEXT_NAMES or _holds_sentences(values)]
    if not found:
        raise InputError(f"--text: say which columns the model reads, separated by commas: {', '.join(others)}")
    return found


def guess_kind(values: Values) -> Kind:
    """What a column of values that are not empty predicts: a label, a number, or a free text."""
    distinct = set(values)
    numbers = [_number(value) for value in distinct]
    if all(number is not None for number in numbers):
        whole = all(number == int(number) for number in numbers if number is not None)
        return "labels" if whole and len(distinct) <= 20 else "numbers"
    few = len(distinct) <= max(_MOST_LABELS, len(values) // 100)
    return "labels" if few and len(distinct) <= len(values) / 2 else "text"


def label_spellings(values: Values) -> dict[str, str]:
    """For every value how its label is written: of values that differ only in case the most frequent one."""
    by_folded: dict[str, Counter[str]] = {}
    for value in values:
        by_folded.setdefault(value.casefold(), Counter())[value] += 1
    return {value: counts.most_common(1)[0][0] for counts in by_folded.values() for value in counts}


def ordered_labels(counts: Counter[str]) -> list[str]:
    """Labels in the order of their numbers, else the most frequent first: of two the rarer is F1's positive one."""
    if all(_number(label) is not None for label in counts):
        return sorted(counts, key=float)
    return sorted(counts, key=lambda label: (-counts[label], label))


def bounds(numbers: Values) -> list[float] | None:
    """The whole numbers around all numbers, or None where these are too many to list."""
    found = [float(number) for number in numbers]
    low, high = math.floor(min(found)), math.ceil(max(found))
    return [float(low), float(high)] if low < high and high - low <= 100 else None


def metrics_for(kind: Kind, counts: Counter[str]) -> list[str] | None:
    """Metrics that fit: F1 where two labels, macro F1 where many are of unequal size; None for those of the kind."""
    if kind != "labels":
        return None
    if len(counts) == 2:
        return ["accuracy", "f1"]
    is_unequal = max(counts.values()) > 1.5 * counts.total() / len(counts)
    return ["accuracy", "macro_f1"] if is_unequal else None


def is_number(value: str) -> bool:
    return _number(value) is not None


def valid_name(name: str) -> str:
    """A name for a task or a column of a template: letters, digits, `_` and `-`."""
    return _UNTITLED.sub("_", name.strip()).strip("_-") or "column"


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _has_few_values(values: Values) -> bool:
    present = [value for value in values if value.strip()]
    return 2 <= len(set(present)) <= min(_MOST_LABELS, len(present) / 10) and not _holds_sentences(present)


def _holds_sentences(values: Values) -> bool:
    present = [value for value in values if value.strip()]
    words = sum(len(value.split()) for value in present)
    characters = sum(map(len, present))
    return bool(present) and words >= _WORDS * len(present) and characters >= _CHARACTERS * len(present)
