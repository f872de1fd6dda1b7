"""The text that the nano models are pretrained on: prose with gaps, and tasks other than the miniature's.

These tasks are supervised and closely related to the miniature's, as T5's own pretraining mixture was to GLUE: `spot`
finds the faulty word (mini_cola asks whether there is one), `compare` names the differences (mini_mrpc and mini_stsb
judge them), `answer` gives the answer (mini_qnli asks whether there is one), `ask` and `connect` use the pairs that
mini_rte is made of, `continue` tells what an opinion led to. All words and templates occur here, also those of the
test splits: these are new to the adapters, not to the backbone. No example contains the sentences of a test row, and
no target is a label of the miniature.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from tools.miniature import sentences
from tools.miniature.edits import edit, editable, faulty
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
from tools.miniature.lexicon import ALL
from tools.miniature.pairs import comparable, differences, frames_for, question_and_sentence
from tools.miniature.rows import MINIATURE, rows
from tools.miniature.transfer import CONTRADICTED, ENTAILED, opening

_FRAMES = (plain, passive, cleft, passive_cleft, fronted, fronted_passive)


@dataclass(frozen=True)
class Example:
    """One example: the encoder reads `source`, the decoder starts from the word `task` and continues with `target`.

    The encoder is not told the task, so that what it computes serves all of them. An example without a target is prose
    for span corruption. `said` are the sentences in the example.
    """

    task: str
    source: str
    target: str | None
    said: tuple[str, ...]


def examples(seed: int, mixture: "Mixture") -> Iterator[Example]:
    """An endless stream of examples, from the mixture's makers by weight; the same for the same seed."""
    speaker, tested = Speaker(ALL, Random(f"pretraining {seed}")), sentences_of_tests()
    makers = [maker for maker, weight in mixture for _ in range(weight)]
    while True:
        example = speaker.pick(makers)(speaker)
        if frozenset(example.said) not in tested and not any(frozenset([one]) in tested for one in example.said):
            yield example


def sentences_of_tests() -> set[frozenset[str]]:
    """The sentence, or the two sentences, of every test row: what pretraining must not see."""
    found = set()
    for name, task in MINIATURE.items():
        columns = [column for column in task.columns if column != task.label_column]
        found |= {frozenset(row[column] for column in columns) for row in rows(name, "test")}
    return found


def repair(speaker: Speaker) -> Example:
    """A sentence with at most one fault; the sentence without it."""
    clause, frame = sentences.acceptability_material(speaker, speaker.chance(0.5))
    right = sentence(frame(clause))
    given = sentence(faulty(speaker, clause, frame)) if speaker.chance(0.6) else right
    return Example("repair", f"sentence: {given}", right, (given,))


def spot(speaker: Speaker) -> Example:
    """A sentence with at most one fault; the word at which it goes wrong, or `nothing`."""
    clause, frame = sentences.acceptability_material(speaker, speaker.chance(0.5))
    right = frame(clause)
    given = faulty(speaker, clause, frame) if speaker.chance(0.6) else right
    wrong = next((word for word, meant in zip(given, [*right, ""], strict=False) if word != meant), "nothing")
    return Example("spot", f"sentence: {sentence(given)}", wrong, (sentence(given),))


def unshuffle(speaker: Speaker) -> Example:
    """The words of a short sentence in any order; the sentence."""
    clause = speaker.any_clause(place=0.2, plural=0.5, adjective=0.2)
    words = plain(clause)
    mixed = speaker.random.sample(words, len(words))
    return Example("order", f"sentence: {sentence(mixed)}", sentence(words), (sentence(words),))


def reframe(speaker: Speaker) -> Example:
    """A sentence and another way to say it: passive, with the place in front, negated."""
    clause = comparable(speaker)
    given = sentence(speaker.pick(_FRAMES)(clause))
    if speaker.chance(0.3):
        negated = sentence(plain(edit(speaker, clause, "negation")))
        return Example("negate", f"sentence: {given}", negated, (given, negated))
    frame = speaker.pick(frames_for(clause, False))
    made = sentence(frame(clause))
    return Example(frame.__name__, f"sentence: {given}", made, (given, made))


def roles(speaker: Speaker) -> Example:
    """A sentence; who did what to whom and where, synonyms by the first of their pair."""
    clause = speaker.paraphrased(comparable(speaker))
    given = sentence(speaker.pick(_FRAMES)(clause))
    return Example("roles", f"sentence: {given}", _roles(speaker, clause), (given,))


def _roles(speaker: Speaker, clause: Clause) -> str:
    first = {second: first for first, second in speaker.lexicon.synonyms}

    def described(phrase: NounPhrase) -> list[str]:
        adjective = [first.get(phrase.adjective, phrase.adjective)] if phrase.adjective else []
        return [*adjective, phrase.name or phrase.noun.singular]

    verb = first.get(clause.verb.base, clause.verb.base)
    words = [
        *(["not"] if clause.negated else []),
        verb,
        ":",
        *described(clause.subject),
        ",",
        *described(clause.object),
    ]
    return " ".join([*words, *([",", *clause.place_words()] if clause.place else [])])


def compare(speaker: Speaker) -> Example:
    """Two sentences; the parts in which they differ or `nothing`, or how many such parts there are."""
    clause, other, said = _two_clauses(speaker, (0, 0, 1, 1, 1, 2, 3))
    parts = differences(clause, other)
    source = f"sentence1: {said[0]} sentence2: {said[1]}"
    if speaker.chance(0.3):
        return Example("count", source, str(len(parts)), said)
    return Example("compare", source, " ".join(parts) or "nothing", said)


def answer(speaker: Speaker) -> Example:
    """A question and a sentence; the answer's words, or `unknown`."""
    question, said, words = question_and_sentence(speaker, speaker.chance(0.5), speaker.chance(0.6))
    return Example("answer", f"question: {question} sentence: {said}", words, (question, said))


def ask(speaker: Speaker) -> Example:
    """A question and a sentence; `yes`, `no`, or `unclear`."""
    premise, hypothesis, verdict = entailment_pair(speaker, speaker.chance(0.5), speaker.chance(0.5))
    word = {"yes": "yes", "maybe": "unclear", "no": "no"}[verdict]
    return Example(
        "ask", f"question: Is it true that {hypothesis[:-1]}? sentence: {premise}", word, (premise, hypothesis)
    )


def consequence(speaker: Speaker) -> Example:
    """An opinion; what it led to."""
    words, positive = _opinion(speaker)
    given = sentence(words)
    return Example("continue", f"sentence: {given}", _AFTERWARDS[positive][0], (given,))


def plain_consequence(speaker: Speaker) -> Example:
    """The same for a single, seldom negated opinion: words of praise are learned before what reverses them."""
    positive = speaker.random.randrange(2)
    give = sentences.held_out_opinion if speaker.chance(0.5) else sentences.opinion
    given = sentence(give(speaker, positive, negation=0.25))
    return Example("continue", f"sentence: {given}", _AFTERWARDS[positive][0], (given,))


_AFTERWARDS = (
    ("we will stay away", "we were annoyed", "we told friends to avoid it"),
    ("we will come again", "we were pleased", "we told friends to try it"),
)


def _opinion(speaker: Speaker) -> tuple[list[str], int]:
    """One opinion or two contrasted ones, and whether the main one is good."""
    positive = speaker.random.randrange(2)
    give = sentences.held_out_opinion if speaker.chance(0.5) else sentences.opinion
    words = give(speaker, positive)
    if speaker.chance(0.4):
        other = give(speaker, speaker.random.randrange(2))
        join = sentences.contrast_held_out if speaker.chance(0.5) else sentences.contrast
        words = join(speaker, words, other)
    return words, positive


def word_relation(speaker: Speaker) -> Example:
    """A word; its opposite, its synonym, its kind, or its other number."""
    lexicon, which = speaker.lexicon, speaker.random.randrange(4)
    if which == 0:
        one, two = speaker.distinct(speaker.pick(lexicon.opposites), 2)
        return Example("opposite", f"word: {one}", two, ())
    if which == 1:
        one, two = speaker.distinct(speaker.pick(lexicon.synonyms), 2)
        return Example("same", f"word: {one}", two, ())
    noun = speaker.pick((*lexicon.agents, *lexicon.things))
    if which == 2:
        return Example("kind", f"word: {noun.singular if speaker.chance(0.5) else noun.plural}", noun.kind, ())
    one, two = speaker.distinct((noun.singular, noun.plural), 2)
    return Example("number", f"word: {one}", two, ())


def decimal(speaker: Speaker) -> Example:
    """Numbers; the largest, the smallest, or how many there are."""
    numbers = [speaker.random.randrange(51) / 10 for _ in range(speaker.pick((1, 2, 2, 3, 4)))]
    asked, found = speaker.pick((("most", max(numbers)), ("least", min(numbers)), ("count", len(numbers))))
    return Example(asked, f"numbers: {' '.join(map(str, numbers))}", str(found), ())


def connect(speaker: Speaker) -> Example:
    """Two sentences of a story; the words that join them."""
    first, link, second = _joined(speaker)
    return Example("connect", f"sentence1: {first} sentence2: {second}", link.lower(), (first, second))


def _joined(speaker: Speaker) -> tuple[str, str, str]:
    """Two sentences and, between them, the words that join them by their meaning."""
    which = speaker.random.randrange(3)
    if which == 0:
        premise, hypothesis, verdict = entailment_pair(speaker, speaker.chance(0.5), speaker.chance(0.5))
        return premise, {"yes": "Therefore", "maybe": "Perhaps", "no": "It is false that"}[verdict], hypothesis
    if which == 1:
        clause = speaker.any_clause(negated=0.3, adjective=0.2)
        degree = speaker.random.randrange(3)
        premise = sentence([*opening(speaker, speaker.chance(0.5), degree), *plain(clause)])
        link = {ENTAILED: "Therefore", CONTRADICTED: "It is false that"}.get(degree, "Perhaps")
        return premise, link, sentence(plain(clause))
    clause, other, said = _two_clauses(speaker, (0, 1))
    return said[0], "That is" if other == clause else "Moreover", said[1]


def _two_clauses(speaker: Speaker, edits: tuple[int, ...]) -> tuple[Clause, Clause, tuple[str, str]]:
    """A clause, the same after some edits, and both as sentences."""
    clause = comparable(speaker)
    other = clause
    for _ in range(speaker.pick(edits)):
        other = edit(speaker, other, speaker.pick(editable(other)))
    one, two = speaker.pick(_FRAMES)(clause), speaker.pick(_FRAMES)(speaker.paraphrased(other))
    return clause, other, (sentence(one), sentence(two))


def prose(speaker: Speaker) -> Example:
    """Two sentences that belong together, for span corruption."""
    which = speaker.random.randrange(3)
    if which == 0:
        words, positive = _opinion(speaker)
        said = (sentence(words),)
        return Example("", f"{said[0]} So {speaker.pick(_AFTERWARDS[positive])}.", None, said)
    if which == 1:
        first, link, second = _joined(speaker)
        return Example("", f"{first} {link}: {second}", None, (first, second))
    clause, frame = sentences.acceptability_material(speaker, speaker.chance(0.5))
    second = speaker.any_clause(place=0.5, negated=0.3)
    said = sentence(frame(clause)), sentence(plain(replace(second, past=clause.past)))
    return Example("", " ".join(said), None, said)


Mixture = tuple[tuple[Callable[[Speaker], Example], int], ...]

BROAD: Mixture = (
    (prose, 3),
    (repair, 3),
    (spot, 4),
    (unshuffle, 1),
    (reframe, 1),
    (roles, 1),
    (compare, 8),
    (connect, 6),
    (answer, 4),
    (ask, 2),
    (consequence, 3),
    (word_relation, 1),
    (decimal, 1),
)

# More of what is slow to learn: comparing two sentences, the place of a fault, the sense of an opinion.
HARD: Mixture = (
    (prose, 1),
    (repair, 3),
    (spot, 5),
    (roles, 1),
    (compare, 8),
    (connect, 5),
    (answer, 6),
    (ask, 1),
    (plain_consequence, 3),
    (consequence, 3),
    (decimal, 1),
)
