"""Families of small tasks: nested, balanced, true by an independent reading of the text, and a recipe that loads."""

import re
from pathlib import Path

import pytest

from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks, target_tasks
from hyperformer_cli.data.sources import load_rows
from tools.miniature.families import (
    KEPT_OUT,
    OTHER_SKILLS,
    PROPERTIES,
    SHARED_SKILLS,
    questions,
    rows,
    write,
    write_few_shot,
)
from tools.miniature.lexicon import HELD_OUT, TRAINING, Lexicon


def content_words(lexicon: Lexicon) -> set[str]:
    forms = {form for noun in lexicon.agents for form in (noun.singular, noun.plural)}
    verbs = {form for verb in lexicon.meets for form in (verb.base, verb.third, verb.past, verb.participle)}
    return {word.lower() for word in {*forms, *verbs, *lexicon.names, *lexicon.adjectives}}


def test_tasks_are_nested_and_their_names_differ() -> None:
    names = [question.name for question in questions(96)]
    assert len(set(names)) == 96
    assert [q.name for q in questions(6)] == names[:6] and [q.name for q in questions(24)] == names[:24]
    with pytest.raises(ValueError, match="1 to 144"):
        questions(145)


@pytest.mark.parametrize("question", questions(96), ids=lambda q: q.name)
def test_labels_are_balanced_and_rows_differ(question) -> None:
    found = rows(question, "train", 20)
    assert found == rows(question, "train", 20)
    assert sum(row["label"] for row in found) == 10
    assert len({tuple(row.values()) for row in found}) == 20


def test_the_answer_is_in_the_text() -> None:
    by_name = {question.name: question for question in questions(96)}
    for row in rows(by_name["negated"], "train", 60):
        assert (" not " in row["sentence1"]) == bool(row["label"])
    for row in rows(by_name["passive"], "train", 60):
        assert (" by " in row["sentence1"]) == bool(row["label"])
    for row in rows(by_name["fronted"], "test", 60):
        assert ("," in row["sentence1"]) == bool(row["label"])
    for row in rows(by_name["same_passive"], "train", 60):
        assert ((" by " in row["sentence1"]) == (" by " in row["sentence2"])) == bool(row["label"])
    for row in rows(by_name["negated_and_past"], "train", 60):
        past = any(f" {word} " in row["sentence1"] for word in ("did", "was", "were"))
        assert not row["label"] or (" not " in row["sentence1"] and past)


def test_test_rows_have_other_words() -> None:
    training, held_out = content_words(TRAINING), content_words(HELD_OUT)
    question = questions(1)[0]
    for split, allowed, foreign in (("train", training, held_out), ("test", held_out, training)):
        words = {
            w
            for row in rows(question, split, 80)
            for w in row["sentence1"].lower().rstrip(".").replace(",", "").split()
        }
        assert words & allowed and not words & (foreign - allowed)


def test_the_recipe_that_is_written_loads_with_its_data(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, 14, 20), ["sweep=null"])
    tasks = recipe_tasks(recipe)
    assert [task.name for task in tasks[:12]] == list(PROPERTIES) and recipe.data.samples_per_task is None
    assert load_rows(tasks[13], "train", "bundled").table.num_rows == 20
    assert tasks[13].template == "sentence1: {sentence1} sentence2: {sentence2}"


def test_the_few_shot_recipe_keeps_two_properties_out_of_training(tmp_path: Path) -> None:
    recipe = load_recipe(write_few_shot(tmp_path, 20))
    trained = {task.name for task in recipe_tasks(recipe)}
    targets = {task.name: task.similar_to for task in target_tasks(recipe)}
    assert len(trained) == 20 and not any(kept in name for kept in KEPT_OUT for name in trained)
    assert targets == SHARED_SKILLS | OTHER_SKILLS and not trained & set(targets) and set(targets.values()) <= trained
    asked = {name: set(re.split("_and_|_or_", name)) for name in targets}
    assert all(asked[name] <= trained for name in SHARED_SKILLS)
    assert all(asked[name] <= set(KEPT_OUT) for name in OTHER_SKILLS)
    assert load_rows(target_tasks(recipe)[0], "train", "bundled").table.num_rows == 20
