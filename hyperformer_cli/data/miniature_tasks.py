"""The miniature GLUE: six tasks and two targets for few-shot transfer. `bundled/` holds their rows."""

from typing import Any

from hyperformer_cli.bundled import BUNDLED
from hyperformer_cli.data.tasks import Task

_SIZES = {"train": 12000, "validation": 300, "test": 400}
_TARGET_SIZES = {"train": 1000, "validation": 300, "test": 400}
_ENTAILMENT = ("entailment", "not_entailment")
_PAIR = "sentence1: {sentence1} sentence2: {sentence2}"


def _task(name: str, template: str, label_names: tuple[str, ...], *metrics: str, **options: Any) -> Task:
    labels = tuple(str(number) for number in range(len(label_names)))
    # The prefix for plain fine-tuning: the nano T5's tokenizer has no underscore.
    options = {"sizes": _SIZES, "label_names": label_names, "prefix": name.removeprefix("mini_"), **options}
    return Task(name, BUNDLED, None, template, labels, metrics, "own", **options)


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
