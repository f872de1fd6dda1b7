"""GLUE's tasks, with the inputs and targets of the reference (paper, Section 3; its third_party/tasks.py)."""

from hyperformer_cli.data.tasks import Task

_HUB = "nyu-mll/glue"
_BINARY = ("0", "1")
_PAIR = "sentence1: {sentence1} sentence2: {sentence2}"

_TASKS = (
    Task(
        name="cola",
        path=_HUB,
        configuration="cola",
        template="sentence: {sentence}",
        labels=_BINARY,
        label_names=("unacceptable", "acceptable"),
        metrics=("matthews_correlation",),
        split_rule="halved",
        sizes={"train": 8551, "validation": 1043},
    ),
    Task(
        name="sst2",
        path=_HUB,
        configuration="sst2",
        template="sentence: {sentence}",
        labels=_BINARY,
        label_names=("negative", "positive"),
        metrics=("accuracy",),
        split_rule="carved",
        sizes={"train": 67349, "validation": 872},
    ),
    Task(
        name="mrpc",
        path=_HUB,
        configuration="mrpc",
        template=_PAIR,
        labels=_BINARY,
        label_names=("not_equivalent", "equivalent"),
        metrics=("accuracy", "f1"),
        split_rule="halved",
        sizes={"train": 3668, "validation": 408},
    ),
    Task(
        name="stsb",
        path=_HUB,
        configuration="stsb",
        template=_PAIR,
        labels=(),
        metrics=("pearson", "spearmanr"),
        split_rule="halved",
        sizes={"train": 5749, "validation": 1500},
    ),
    Task(
        name="qqp",
        path=_HUB,
        configuration="qqp",
        template="question1: {question1} question2: {question2}",
        labels=_BINARY,
        label_names=("not_duplicate", "duplicate"),
        metrics=("accuracy", "f1"),
        split_rule="carved",
        sizes={"train": 363846, "validation": 40430},
    ),
    Task(
        name="mnli",
        path=_HUB,
        configuration="mnli",
        template="premise: {premise} hypothesis {hypothesis}",  # without a second colon, as the reference has it
        labels=("0", "1", "2"),
        label_names=("entailment", "neutral", "contradiction"),
        metrics=("accuracy",),
        split_rule="own",
        sizes={"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832},
        source_splits={"train": "train", "validation": "validation_mismatched", "test": "validation_matched"},
    ),
    Task(
        name="qnli",
        path=_HUB,
        configuration="qnli",
        template="question: {question} sentence: {sentence}",
        labels=_BINARY,
        label_names=("entailment", "not_entailment"),
        metrics=("accuracy",),
        split_rule="carved",
        sizes={"train": 104743, "validation": 5463},
    ),
    Task(
        name="rte",
        path=_HUB,
        configuration="rte",
        template=_PAIR,
        labels=_BINARY,
        label_names=("entailment", "not_entailment"),
        metrics=("accuracy",),
        split_rule="halved",
        sizes={"train": 2490, "validation": 277},
    ),
    Task(
        name="wnli",
        path=_HUB,
        configuration="wnli",
        template=_PAIR,
        labels=_BINARY,
        label_names=("not_entailment", "entailment"),
        metrics=("accuracy",),
        split_rule="halved",
        sizes={"train": 635, "validation": 71},
    ),
)

GLUE = {task.name: task for task in _TASKS}
