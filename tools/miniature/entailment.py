"""Pairs of sentences whose entailment follows from quantifiers, negation, kinds and conjunction.

Every word occurs as often where the second sentence follows as where it does not: what decides is how a quantifier
or negation and the direction of the change go together (monotonicity).
"""

from collections.abc import Callable
from dataclasses import replace

from tools.miniature.language import NounPhrase, Speaker, be, do, sentence

Verdict = str  # yes, no, maybe
Pair = tuple[list[str], list[str], Verdict]
Predicate = Callable[[NounPhrase, bool], list[str]]

_UP = ("some", "two", "a")
_DOWN = ("every", "no", "all")


def entailment_pair(speaker: Speaker, held_out: bool, follows: bool) -> tuple[str, str, Verdict]:
    """Premise and hypothesis, and whether the hypothesis is true: yes, no, or maybe.

    Held-out templates: passives under a quantifier (`Every bus was sold by Emma`), `neither ... nor`.
    """
    while True:
        made = speaker.pick((_restriction, _restriction, _predicate, _predicate, _quantifier, _conjunction))
        premise, hypothesis, verdict = made(speaker, held_out)
        if (verdict == "yes") == follows:
            return sentence(premise), sentence(hypothesis), verdict


def _quantified(determiner: str, phrase: NounPhrase) -> NounPhrase:
    return replace(phrase, determiner=determiner, plural=determiner in ("some", "all", "two"))


def _predicates(speaker: Speaker, held_out: bool, noun) -> Predicate:
    """What is said of the quantified noun phrase; held out, a passive."""
    lexicon = speaker.lexicon
    if held_out:
        name, verb = speaker.pick(lexicon.names), speaker.pick(lexicon.uses if noun.is_thing else lexicon.meets)
        return lambda phrase, negated: _passive(phrase, negated, verb.participle, name)
    if noun.is_thing:
        colour = speaker.pick(lexicon.colours)
        return lambda phrase, negated: _being(phrase, negated, colour)
    if speaker.chance(0.5):
        other, verb = NounPhrase(name=speaker.pick(lexicon.names)), speaker.pick(lexicon.meets)
        return lambda phrase, negated: _doing(phrase, negated, verb, other.words())
    verb = speaker.pick(lexicon.acts)
    return lambda phrase, negated: _doing(phrase, negated, verb, [])


def _passive(phrase: NounPhrase, negated: bool, participle: str, name: str) -> list[str]:
    return [*phrase.words(), be(phrase.plural, True), *(["not"] if negated else []), participle, "by", name]


def _being(phrase: NounPhrase, negated: bool, adjective: str) -> list[str]:
    return [*phrase.words(), be(phrase.plural, True), *(["not"] if negated else []), adjective]


def _doing(phrase: NounPhrase, negated: bool, verb, complement: list[str]) -> list[str]:
    if negated:
        return [*phrase.words(), do(phrase.plural, True), "not", verb.base, *complement]
    return [*phrase.words(), verb.past, *complement]


def _narrow_and_wide(speaker: Speaker) -> tuple[NounPhrase, NounPhrase]:
    """Two restrictors, the first within the second: `big dog` and `dog`, `dog` and `animal`."""
    lexicon = speaker.lexicon
    noun = speaker.pick(lexicon.hyponyms())
    if speaker.chance(0.5):
        return NounPhrase(noun, adjective=speaker.adjective_for(noun)), NounPhrase(noun)
    return NounPhrase(noun), NounPhrase(lexicon.kind_of(noun))


def _restriction(speaker: Speaker, held_out: bool) -> Pair:
    """The noun phrase grows or shrinks under one quantifier."""
    narrow, wide = _narrow_and_wide(speaker)
    upward, growing = speaker.chance(0.5), speaker.chance(0.5)
    determiner = speaker.pick(_UP if upward else _DOWN)
    say = _predicates(speaker, held_out, wide.noun)
    first, second = (narrow, wide) if growing else (wide, narrow)
    pair = [say(_quantified(determiner, phrase), False) for phrase in (first, second)]
    return pair[0], pair[1], "yes" if upward == growing else "maybe"


def _predicate(speaker: Speaker, held_out: bool) -> Pair:
    """A place is added to or taken from what is said, under a quantifier or a negation."""
    noun = speaker.pick(speaker.lexicon.agents)
    say = _predicates(speaker, held_out, noun)
    place = speaker.pick(speaker.lexicon.places).split()
    downward, shrinking = speaker.chance(0.5), speaker.chance(0.5)
    if speaker.chance(0.5):
        determiner = "no" if downward else speaker.pick(("some", "every", "all", "two"))
        words = say(_quantified(determiner, NounPhrase(noun)), False)
    else:
        name = NounPhrase(name=speaker.pick(speaker.lexicon.names))
        words = say(speaker.pick((NounPhrase(noun), name)), downward)
    first, second = ([*words, *place], words) if shrinking else (words, [*words, *place])
    return first, second, "yes" if shrinking != downward else "maybe"


def _quantifier(speaker: Speaker, held_out: bool) -> Pair:
    """One quantifier for another."""
    noun = speaker.pick((*speaker.lexicon.agents, *speaker.lexicon.things))
    say = _predicates(speaker, held_out, noun)
    first, second, verdict = speaker.pick(
        (
            ("every", "some", "yes"),
            ("some", "every", "maybe"),
            ("all", "some", "yes"),
            ("some", "all", "maybe"),
            ("two", "some", "yes"),
            ("some", "two", "maybe"),
            ("every", "all", "yes"),
            ("all", "every", "yes"),
            ("every", "no", "no"),
            ("no", "every", "no"),
            ("no", "some", "no"),
            ("some", "no", "no"),
        )
    )
    phrase = NounPhrase(noun)
    return say(_quantified(first, phrase), False), say(_quantified(second, phrase), False), verdict


def _conjunction(speaker: Speaker, held_out: bool) -> Pair:
    """`Tom and the dog slept` entails `Tom slept`; with `or` it is the other way round; the order never matters.

    A third party, of which nothing follows, keeps the conjunctions from telling the answer.
    """
    one, two = (phrase.words() for phrase in speaker.two_agents(names=0.5, adjective=0.0, plural=0.0))
    third = speaker.agent(names=0.5, adjective=0.0, plural=0.0).words()
    while third in (one, two):
        third = speaker.agent(names=0.5, adjective=0.0, plural=0.0).words()
    say = _predicates(speaker, held_out, speaker.pick(speaker.lexicon.agents))

    def said(*words: str, plural: bool = False, negated: bool = False) -> list[str]:
        return " ".join(say(NounPhrase(name=" ".join(words), plural=plural), negated)).split()

    either = speaker.pick((one, two))
    if held_out and speaker.chance(0.3):
        neither, alone = said("neither", *one, "nor", *two, plural=True), said(*either, negated=True)
        return speaker.pick(((neither, alone, "yes"), (alone, neither, "maybe"), (neither, said(*either), "no")))
    word = speaker.pick(("and", "or"))
    joined, turned = said(*one, word, *two, plural=True), said(*two, word, *one, plural=True)
    other = said(*third, word, *two, plural=True)
    return speaker.pick(
        (
            (joined, said(*either), "yes" if word == "and" else "maybe"),
            (said(*either), joined, "maybe" if word == "and" else "yes"),
            (joined, turned, "yes"),
            (joined, other, "maybe"),
            (joined, said(*third), "maybe"),
            (said(*one), other, "maybe"),
        )
    )
