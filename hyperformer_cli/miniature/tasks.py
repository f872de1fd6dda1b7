"""The rows of the miniature GLUE: six tasks and two targets for transfer.

Training and validation rows are drawn from the words of `lexicon.TRAINING` and the training templates; test rows
have none of these content words (`lexicon.HELD_OUT`), and every one of them a held-out template.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random

from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.miniature.language import Speaker
from hyperformer_cli.miniature.lexicon import HELD_OUT, TRAINING
from hyperformer_cli.miniature.pairs import answering, entailment, paraphrase, similarity
from hyperformer_cli.miniature.sentences import Row, acceptability, sentiment
from hyperformer_cli.miniature.transfer import commitment, word_order
from hyperformer_cli.tasks.registry import get_task
from hyperformer_cli.tasks.task import Task

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
MINIATURE: dict[str, Task] = {name: get_task(name) for name in _GENERATORS}


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
    raise InputError(f"no bundled split '{split}'; {did_you_mean(split, MINIATURE[task_name].sizes)}")


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
