"""GLUE's texts and targets as the reference writes them, and its metrics against independent ones."""

import math

import numpy as np
import pytest

from hyperformer_cli.data.metrics import majority_score, score
from hyperformer_cli.errors import InputError
from hyperformer_cli.tasks.registry import get_task, task_names

ROWS = {
    "cola": ({"sentence": "S", "label": 1}, "sentence: S", "1"),
    "sst2": ({"sentence": "S ", "label": 0}, "sentence: S ", "0"),
    "mrpc": ({"sentence1": "A", "sentence2": "B", "label": 1}, "sentence1: A sentence2: B", "1"),
    "stsb": ({"sentence1": "A", "sentence2": "B", "label": 3.75}, "sentence1: A sentence2: B", "3.8"),
    "qqp": ({"question1": "A", "question2": "B", "label": 0}, "question1: A question2: B", "0"),
    "mnli": ({"premise": "A", "hypothesis": "{B}", "label": 2}, "premise: A hypothesis {B}", "2"),
    "qnli": ({"question": "Q", "sentence": "S", "label": 1}, "question: Q sentence: S", "1"),
    "rte": ({"sentence1": "A", "sentence2": "B", "label": 0}, "sentence1: A sentence2: B", "0"),
    "wnli": ({"sentence1": "A", "sentence2": "B", "label": 0}, "sentence1: A sentence2: B", "0"),
}


@pytest.mark.parametrize("name", ROWS)
def test_texts_are_the_references(name: str) -> None:
    row, text, target = ROWS[name]
    task = get_task(name)
    assert task.input_text(row, with_prefix=False) == text
    assert task.input_text(row, with_prefix=True) == f"{name} {text}"
    assert task.target_text(row) == target


def test_every_glue_task_is_shipped() -> None:
    assert task_names()[: len(ROWS)] == sorted(ROWS)
    with pytest.raises(InputError, match="did you mean 'mrpc'"):
        get_task("mrcp")


@pytest.mark.parametrize("label", [2, -1, 0.5, None, "yes"])
def test_labels_outside_the_list_are_refused(label: object) -> None:
    with pytest.raises(InputError, match="expected 0, 1"):
        get_task("cola").target_text({"label": label})


def test_accuracy_and_f1_by_hand() -> None:
    predictions = ["1", "1", "0", "0", "x", " 1 "]
    references = ["1", "0", "0", "1", "1", "1"]
    # The unreadable fifth counts as wrong, for F1 as class 0: 2 true, 1 false positive, 2 false negatives.
    assert score(get_task("mrpc"), predictions, references) == pytest.approx({"accuracy": 50.0, "f1": 100 * 4 / 7})


def test_matthews_is_phi_for_two_classes_and_counts_invalid_as_a_third() -> None:
    rng = np.random.default_rng(0)
    references = rng.integers(2, size=200)
    predictions = np.where(rng.random(200) < 0.7, references, 1 - references)
    texts = lambda values: [str(v) for v in values]  # noqa: E731
    phi = np.corrcoef(predictions, references)[0, 1]
    assert score(get_task("cola"), texts(predictions), texts(references))["matthews_correlation"] == pytest.approx(
        100 * phi
    )
    unreadable = ["?"] * 50 + texts(predictions[50:])
    assert 0 < score(get_task("cola"), unreadable, texts(references))["matthews_correlation"] < 100 * phi


def test_correlations_against_numpy() -> None:
    rng = np.random.default_rng(0)
    references = rng.permutation(51)[:40] / 10
    predictions = np.round(np.clip(references + rng.normal(0, 1, 40), 0, 5), 1)
    found = score(get_task("stsb"), [str(p) for p in predictions], [str(r) for r in references])
    assert found["pearson"] == pytest.approx(100 * np.corrcoef(predictions, references)[0, 1])
    ranks = lambda v: np.array([(v < x).sum() + ((v == x).sum() - 1) / 2 for x in v])  # noqa: E731
    assert found["spearmanr"] == pytest.approx(100 * np.corrcoef(ranks(predictions), ranks(references))[0, 1])


def test_constant_and_unreadable_correlations() -> None:
    constant = score(get_task("stsb"), ["2.0"] * 3, ["1.0", "2.0", "3.0"])
    assert constant == {"pearson": 0.0, "spearmanr": 0.0}
    mixed = ["3.4", "nan", "inf", "", "abc", "-2"]
    as_minus_one = ["3.4", "-1", "-1", "-1", "-1", "-2"]
    references = ["0.1", "2.0", "3.3", "1.2", "0.4", "4.5"]
    assert score(get_task("stsb"), mixed, references) == score(get_task("stsb"), as_minus_one, references)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *(("stsb", text, value) for text, value in (("3.4", 3.4), (" 3.4 ", 3.4), ("-2", -2.0), ("1e3", 1000.0))),
        *(("stsb", text, None) for text in ("nan", "inf", "", "abc")),
        *(("mrpc", text, value) for text, value in (("0", 0), ("1", 1), (" 1", 1), ("", None), ("2", None))),
        ("mrpc", "equivalent", None),  # the name of a label is not its text
        ("social_i_qa", "2", 2),
        ("wmt16_ro_en", " a cat ", "a cat"),
    ],
)
def test_generated_texts_are_read_one_way(name: str, text: str, value: object) -> None:
    """As a label's place, a number or a text; scores count what cannot be read as -1."""
    assert get_task(name).parse_prediction(text) == value


def test_majority_answers_the_most_frequent_label() -> None:
    assert majority_score(get_task("mrpc"), ["1", "1", "0"]) == pytest.approx({"accuracy": 200 / 3, "f1": 80.0})
    assert majority_score(get_task("cola"), ["1", "1", "0"]) == {"matthews_correlation": 0.0}
    assert all(math.isfinite(value) for value in majority_score(get_task("stsb"), ["1.0", "2.0"]).values())


# One row in each data set's own columns, and what the reference makes of it.
OTHER_ROWS = {
    "scitail": ({"sentence1": "A", "sentence2": "B", "gold_label": "neutral"}, "sentence1: A sentence2: B", "1"),
    "cb": ({"premise": "P", "hypothesis": "H", "label": 2}, "premise: P hypothesis: H", "2"),
    "boolq": ({"question": "q", "passage": "p", "label": 1}, "question: q passage: p", "1"),
    "imdb": ({"text": "T", "label": 0}, "T", "0"),
    "yelp_polarity": ({"text": "T", "label": 1}, "sentence: T", "1"),
    "paws": ({"sentence1": "A", "sentence2": "B", "label": 0}, "sentence1: A sentence2: B", "0"),
    "trec": ({"text": "T", "coarse_label": 5, "fine_label": 40}, "sentence: T", "4"),
    "snli": ({"premise": "P", "hypothesis": "H", "label": 1}, "premise: P hypothesis: H", "1"),
    "sick": ({"sentence_A": "A", "sentence_B": "B", "label": 0}, "premise: A hypothesis: B", "0"),
    "superglue_rte": ({"premise": "P", "hypothesis": "H", "label": 0}, "premise: P hypothesis: H", "0"),
    "social_i_qa": (
        {"context": "C", "question": "Q", "answerA": "a", "answerB": "b", "answerC": "c", "label": "3"},
        "question: Q context: C answerA: a answerB: b answerC: c",
        "2",
    ),
    "cosmos_qa": (
        {"context": "C", "question": "Q", **{f"answer{i}": "abcd"[i] for i in range(4)}, "label": 3},
        "question: Q context: C answer0: a answer1: b answer2: c answer3: d",
        "3",
    ),
    "winogrande": (
        {"sentence": "S", "option1": "a", "option2": "b", "answer": "2"},
        "sentence: S option1: a option2: b",
        "2",
    ),
    "hellaswag": (
        {"ctx": "C", "endings": ["a", "b", "c", "d"], "label": "1"},
        "ctx: C ending0: a ending1: b ending2: c ending3: d",
        "1",
    ),
    "commonsense_qa": (
        {"question": "Q", "choices": {"label": list("ABCDE"), "text": list("abcde")}, "answerKey": "E"},
        "question: Q A: a B: b C: c D: d E: e",
        "4",
    ),
}


@pytest.mark.parametrize("name", OTHER_ROWS)
def test_texts_of_the_other_tasks_are_the_references(name: str) -> None:
    row, text, target = OTHER_ROWS[name]
    task = get_task(name)
    assert task.input_text(row, with_prefix=False) == text
    assert task.target_text(row) == target
    assert set(task.columns) <= set(row)


def test_superglue_prefixes_are_the_references() -> None:
    assert get_task("cb").input_text(OTHER_ROWS["cb"][0], with_prefix=True).startswith("superglue-cb premise: P")


@pytest.mark.parametrize(
    ("name", "source", "target", "prefix"),
    [
        ("wmt16_ro_en", "ro", "en", "Translate Romanian to English"),
        ("wmt16_en_ro", "en", "ro", "Translate English to Romanian"),
        ("wmt16_en_cs", "en", "cs", "Translate English to Czech"),
        ("wmt16_en_fi", "en", "fi", "Translate English to Finnish"),
        ("wmt14_hi_en", "en", "hi", "Translate English to Hindi"),
        ("iwslt2017_ro_nl", "ro", "nl", "Translate Romanian to Dutch"),
        ("iwslt2017_en_nl", "en", "nl", "Translate English to Dutch"),
    ],
)
def test_translation_follows_the_reference(name: str, source: str, target: str, prefix: str) -> None:
    task = get_task(name)
    row = {"translation": {source: "from here", target: "to there"}}
    assert task.input_text(row, with_prefix=False) == "from here"
    assert task.input_text(row, with_prefix=True) == f"{prefix} from here"
    assert task.target_text(row) == "to there"
    assert (task.max_target_length, task.num_beams, task.metrics) == (300, 4, ["bleu"])


def test_bleu_by_hand() -> None:
    """Brevity penalty times the geometric mean of n-gram precisions, n = 1 to 4."""
    reference, prediction = "the cat sat on the old mat", "the cat sat on the mat"
    precisions = [6 / 6, 4 / 5, 3 / 4, 2 / 3]
    expected = math.exp(1 - 7 / 6) * math.prod(precisions) ** 0.25
    task = get_task("wmt16_ro_en")
    assert score(task, [prediction], [reference])["bleu"] == pytest.approx(100 * expected)
    assert score(task, [reference], [reference])["bleu"] == pytest.approx(100)
    assert majority_score(task, [reference, "dogs bark", reference, "x"])["bleu"] > 0
