"""The rows of the miniature GLUE, generated.

Training and validation rows use the words of `lexicon.TRAINING` and the training templates. Test rows have no content
word of these (they use `lexicon.HELD_OUT`), and each of them has a held-out template.
"""

from collections.abc import Callable
from functools import cache
from random import Random

from hyperformer_cli.tasks.registry import all_tasks
from hyperformer_cli.tasks.task import Task
from tools.miniature.language import Speaker
from tools.miniature.lexicon import HELD_OUT, TRAINING
from tools.miniature.pairs import answering, entailment, paraphrase, similarity
from tools.miniature.sentences import Row, acceptability, sentiment
from tools.miniature.transfer import commitment, word_order

MINIATURE = {task.name: task for task in all_tasks() if task.is_bundled}

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


def rows(task_name: str, split: str) -> list[Row]:
    """One split of a task: the same rows on every call, in every process. Labels are balanced; no row is a duplicate.

    Raises:
        KeyError: no such task or split.
    """
    return [dict(row) for row in _generated(task_name, held_out=split == "test")[split]]


@cache
def _generated(task_name: str, held_out: bool) -> dict[str, list[Row]]:
    """The splits of one part of the language: training and validation, or (held out) test."""
    task, random = MINIATURE[task_name], Random(f"{task_name}, {'held out' if held_out else 'training'}")
    speaker = Speaker(HELD_OUT if held_out else TRAINING, random)
    seen: set[str] = set()
    found = {}
    for split in ("test",) if held_out else ("train", "validation"):
        labels = _balanced(task, task.sizes[split])
        found[split] = [_new(task, speaker, held_out, label, seen) for label in labels]
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
