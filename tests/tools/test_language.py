"""What the generator says: agreement, frames, questions, faults, and the arithmetic of differences and entailment."""

from dataclasses import replace
from random import Random

import pytest

from tools.miniature.edits import FAULTS, edit, editable, faulty
from tools.miniature.entailment import entailment_pair
from tools.miniature.language import (
    Clause,
    NounPhrase,
    Speaker,
    cleft,
    fronted,
    fronted_passive,
    passive,
    passive_cleft,
    plain,
    sentence,
)
from tools.miniature.lexicon import ALL, TRAINING
from tools.miniature.pairs import comparable, differences, distance

DOG, CAT = (next(noun for noun in TRAINING.agents if noun.singular == word) for word in ("dog", "cat"))
DOGS_SCARE_THE_CAT = Clause(
    NounPhrase(DOG, plural=True, adjective="big"), TRAINING.verb("scare"), NounPhrase(CAT), place="near the river"
)


@pytest.fixture
def speaker() -> Speaker:
    return Speaker(ALL, Random("a test"))


@pytest.mark.parametrize(
    ("frame", "past", "expected"),
    [
        (plain, True, "The big dogs scared the cat near the river."),
        (plain, False, "The big dogs scare the cat near the river."),
        (passive, False, "The cat is scared by the big dogs near the river."),
        (cleft, True, "It was the big dogs that scared the cat near the river."),
        (passive_cleft, True, "It was the cat that was scared by the big dogs near the river."),
        (fronted, False, "Near the river, the big dogs scare the cat."),
        (fronted_passive, True, "Near the river, the cat was scared by the big dogs."),
    ],
)
def test_frames(frame, past, expected):
    assert sentence(frame(replace(DOGS_SCARE_THE_CAT, past=past))) == expected


def test_negation_takes_an_auxiliary():
    negated = replace(DOGS_SCARE_THE_CAT, negated=True, past=False, place=None)
    assert sentence(plain(negated)) == "The big dogs do not scare the cat."
    assert sentence(passive(negated)) == "The cat is not scared by the big dogs."


@pytest.mark.parametrize(
    "fault", sorted(set(FAULTS), key=lambda fault: fault.__name__), ids=lambda fault: fault.__name__
)
def test_every_fault_occurs_and_changes_the_sentence(fault, speaker):
    found = 0
    for _ in range(200):
        clause = replace(speaker.any_clause(negated=0.3, plural=0.5), past=speaker.chance(0.3))
        words = fault(speaker, clause, speaker.pick((plain, passive)))
        found += words is not None and words not in (plain(clause), passive(clause))
    assert found > 10


def test_a_faulty_sentence_is_never_the_right_one(speaker):
    for _ in range(500):
        clause = speaker.redetermined(speaker.any_clause(negated=0.3, plural=0.5))
        assert faulty(speaker, clause, plain) != plain(clause)


def test_synonyms_are_no_difference_and_every_edit_is_one(speaker):
    for _ in range(300):
        clause = comparable(speaker)
        assert differences(clause, clause) == []
        assert distance(clause, clause) == 0
        for part in editable(clause):
            assert differences(clause, edit(speaker, clause, part)) == [part]


@pytest.mark.parametrize("held_out", [False, True])
def test_both_directions_of_entailment_occur(speaker, held_out):
    for follows in (False, True):
        verdicts = {entailment_pair(speaker, held_out, follows)[2] for _ in range(200)}
        assert verdicts == ({"yes"} if follows else {"no", "maybe"})
