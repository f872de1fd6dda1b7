"""The miniature GLUE: six tasks and two targets for transfer, as declarations and as rows.

Training and validation rows are drawn from the words of `lexicon.TRAINING` and the training templates; test rows
have none of these content words (`lexicon.HELD_OUT`), and every one of them a held-out template.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from hyperformer_cli.data.tasks import Task
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.miniature.language import Speaker
from hyperformer_cli.miniature.lexicon import HELD_OUT, TRAINING
from hyperformer_cli.miniature.pairs import answering, entailment, paraphrase, similarity
from hyperformer_cli.miniature.sentences import Row, acceptability, sentiment
from hyperformer_cli.miniature.transfer import commitment, word_order

_SIZES = {"train": 12000, "validation": 300, "test": 400}
_TARGET_SIZES = {"train": 1000, "validation": 300, "test": 400}
_ENTAILMENT = ("entailment", "not_entailment")
_PAIR = "sentence1: {sentence1} sentence2: {sentence2}"


def _task(name: str, template: str, label_names: tuple[str, ...], *metrics: str, **options: Any) -> Task:
    labels = tuple(str(number) for number in range(len(label_names)))
    # Plain fine-tuning's prefix; the nano T5's tokenizer knows no underscores.
    options = {"sizes": _SIZES, "label_names": label_names, "prefix": name.removeprefix("mini_"), **options}
    return Task(name, "bundled", None, template, labels, metrics, "own", **options)


_TASKS = (
    _task("mini_cola", "sentence: {sentence}", ("unacceptable", "acceptable"), "matthews_correlation"),
    _task("mini_sst2", "sentence: {sentence}", ("negative", "positive"), "accuracy"),
    _task("mini_mrpc", _PAIR, ("not_equivalent", "equivalent"), "accuracy", "f1"),
    _task("mini_stsb", _PAIR, (), "pearson", "spearmanr"),
    _task("mini_qnli", "question: {question} sentence: {sentence}", _ENTAILMENT, "accuracy"),
    _task("mini_rte", _PAIR, _ENTAILMENT, "accuracy"),
    _task(
        "mini_cb",
        "premise: {premise} hypothesis: {hypothesis}",
        ("entailment", "contradiction", "neutral"),
        "accuracy",
        sizes=_TARGET_SIZES,
        similar_to="mini_rte",
    ),
    _task(
        "mini_paws",
        _PAIR,
        ("not_paraphrase", "paraphrase"),
        "accuracy",
        sizes=_TARGET_SIZES,
        similar_to="mini_mrpc",
    ),
)

MINIATURE = {task.name: task for task in _TASKS}

_GENERATORS: dict[str, Callable[[Speaker, bool, int | float], Row]] = {
    "mini_cola": acceptability,
    "mini_sst2": sentiment,
    "mini_mrpc": paraphrase,
    "mini_stsb": similarity,
    "mini_qnli": answering,
    "mini_rte": entailment,
    "mini_cb": commitment,
    "mini_paws": word_order,
}


@dataclass(frozen=True)
class _Half:
    """The rows of one part of the language: those that train and validate, or those that test."""

    name: str
    splits: tuple[str, ...]
    held_out: bool


_HALVES = (_Half("training", ("train", "validation"), False), _Half("held out", ("test",), True))


def rows(task_name: str, split: str) -> list[Row]:
    """One split of a task: the same rows on every call, in every process. Labels are balanced; no row comes twice.

    Raises:
        InputError: no such task or split.
    """
    if task_name not in MINIATURE:
        raise InputError(f"no bundled task '{task_name}'; {did_you_mean(task_name, MINIATURE)}")
    for half in _HALVES:
        if split in half.splits:
            return [dict(row) for row in _generated(task_name, half)[split]]
    raise InputError(f"no bundled split '{split}'; {did_you_mean(split, _SIZES)}")


@cache
def _generated(task_name: str, half: _Half) -> dict[str, list[Row]]:
    task, random = MINIATURE[task_name], Random(f"{task_name}, {half.name}")
    speaker = Speaker(HELD_OUT if half.held_out else TRAINING, random)
    seen: set[str] = set()
    found = {}
    for split in half.splits:
        labels = _balanced(task, task.sizes[split])
        found[split] = [_new(task, speaker, half.held_out, label, seen) for label in labels]
        random.shuffle(found[split])
    return found


def _balanced(task: Task, count: int) -> list[int | float]:
    if task.is_regression:
        return [round(5 * i / (count - 1), 1) for i in range(count)]
    return [i % len(task.labels) for i in range(count)]


def _new(task: Task, speaker: Speaker, held_out: bool, label: int | float, seen: set[str]) -> Row:
    while True:
        row = _GENERATORS[task.name](speaker, held_out, label)
        text = task.input_text(row, with_prefix=False)
        if text not in seen:
            seen.add(text)
            return row
