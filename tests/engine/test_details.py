"""Scores and figures per label beside scikit-learn's and rouge_score's, on random answers."""

import random

import numpy as np
import pytest
from sklearn import metrics as sk

from hyperformer_cli.data.metrics import score
from hyperformer_cli.engine.answers import label_scores, likeliest
from hyperformer_cli.engine.details import is_outside, task_details
from hyperformer_cli.tasks.task import Task

LABELS = ["low", "medium", "high", "urgent"]
PRIORITY = Task(
    name="tickets",
    template="{text}",
    labels={"low": "0", "medium": "1", "high": "2", "urgent": "3"},
    label_names=LABELS,
    metrics=["accuracy", "macro_f1", "weighted_f1", "balanced_accuracy", "matthews_correlation"],
)


def random_answers(seed: int, rows: int = 500, valid: bool = True) -> tuple[list[str], list[str]]:
    draw = random.Random(seed)
    gold = draw.choices("0123", weights=[60, 25, 10, 5], k=rows)
    answers = [g if draw.random() < 0.6 else draw.choice("0123" if valid else ["0", "3", "lowlow", ""]) for g in gold]
    return answers, gold


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    answers, gold = random_answers(seed)
    found = score(PRIORITY, answers, gold)
    assert found == pytest.approx(
        {
            "accuracy": 100 * sk.accuracy_score(gold, answers),
            "macro_f1": 100 * sk.f1_score(gold, answers, average="macro"),
            "weighted_f1": 100 * sk.f1_score(gold, answers, average="weighted"),
            "balanced_accuracy": 100 * sk.balanced_accuracy_score(gold, answers),
            "matthews_correlation": 100 * sk.matthews_corrcoef(gold, answers),
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_answers_outside_the_labels_are_wrong_and_no_class_of_their_own(seed: int) -> None:
    answers, gold = random_answers(seed, valid=False)
    f1 = sk.f1_score(gold, answers, average=None, labels=list("0123"), zero_division=0)
    recall = sk.recall_score(gold, answers, average=None, labels=list("0123"), zero_division=0)
    found = score(PRIORITY, answers, gold)
    assert found["macro_f1"] == pytest.approx(100 * np.mean(f1))
    assert found["balanced_accuracy"] == pytest.approx(100 * np.mean(recall))


@pytest.mark.parametrize("valid", [True, False])
def test_figures_per_label_are_those_of_scikit_learn(valid: bool) -> None:
    answers, gold = random_answers(7, valid=valid)
    found = task_details(PRIORITY, "test", answers, gold)
    report = sk.classification_report(gold, answers, labels=list("0123"), output_dict=True, zero_division=0)
    for text, own in zip("0123", found["labels"], strict=True):
        assert own["label"] == LABELS[int(text)]
        assert own["precision"] == pytest.approx(100 * report[text]["precision"], abs=1e-3)
        assert own["recall"] == pytest.approx(100 * report[text]["recall"], abs=1e-3)
        assert own["f1"] == pytest.approx(100 * report[text]["f1-score"], abs=1e-3)
        assert (own["examples"], own["predicted"]) == (gold.count(text), answers.count(text))
    inside = sk.confusion_matrix(
        gold, [answer if answer in "0123" and answer else "?" for answer in answers], labels=[*"0123", "?"]
    )
    assert found["confusion"] == inside[:-1].tolist()
    outside = sum(answer not in list("0123") for answer in answers)
    assert found["outside"] == outside == sum(row[-1] for row in found["confusion"])
    assert (outside == 0) == valid and set(found["outside_answers"]) == (set() if valid else {"lowlow", ""})


def test_numbers() -> None:
    task = Task(name="stars", template="{x}", range=[1.0, 5.0], metrics=["mean_absolute_error", "pearson"])
    draw = random.Random(1)
    gold = [draw.choice(task.possible_targets()) for _ in range(200)]
    answers = [draw.choice(task.possible_targets()) for _ in range(200)]
    expected = sk.mean_absolute_error([float(text) for text in gold], [float(text) for text in answers])
    assert score(task, answers, gold)["mean_absolute_error"] == pytest.approx(expected)
    found = task_details(task, "test", ["1.0", "5.1", "many", "0.9"], ["1.0"] * 4)
    assert found["outside"] == 3 and "labels" not in found
    assert is_outside(task, "") and not is_outside(task, " 3.5 ")


def test_free_text_is_scored_as_by_the_rouge_library() -> None:
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    names = ["rouge1", "rouge2", "rougeL"]
    task = Task(name="sum", template="{x}", target="{y}", metrics=[*names, "exact_match"])
    draw = random.Random(2)
    text = lambda: " ".join(draw.choices(["the", "cat", "dog", "sees", "likes", "old", "tree"], k=draw.randint(1, 9)))  # noqa: E731
    gold = [text() for _ in range(100)]
    answers = [g if draw.random() < 0.2 else text() for g in gold]
    found, scorer = score(task, answers, gold), rouge_scorer.RougeScorer(names)
    for name in names:
        each = [scorer.score(g, a)[name].fmeasure for g, a in zip(gold, answers, strict=True)]
        assert found[name] == pytest.approx(100 * np.mean(each))
    assert found["exact_match"] == pytest.approx(100 * np.mean([g == a for g, a in zip(gold, answers, strict=True)]))


def test_exact_match_ignores_spaces_around_a_text() -> None:
    task = Task(name="sum", template="{x}", target="{y}", metrics=["exact_match"])
    assert score(task, [" a b ", "a  b"], ["a b", "a b"]) == {"exact_match": 50.0}


def test_the_likeliest_label() -> None:
    assert likeliest(PRIORITY, [-3.0, -1.0, -2.0, -9.0]) == "1"
    assert max(label_scores(PRIORITY, [-3.0, -1.0, -2.0, -9.0]).items(), key=lambda item: item[1])[0] == "medium"
