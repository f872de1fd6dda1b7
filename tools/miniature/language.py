"""Simple English: noun phrases and clauses as meanings, and frames, each of which puts a clause into words.

Everything random is drawn from the `random.Random` that is passed in, so the seed determines the text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from tools.miniature.lexicon import Lexicon, Noun, Verb

SINGULAR = ("the", "a", "every", "this", "one", "no")
PLURAL = ("the", "some", "all", "these", "many", "two", "no")


@dataclass(frozen=True)
class NounPhrase:
    """A name, or determiner, adjective, noun and whatever follows the noun."""

    noun: Noun | None = None
    determiner: str = "the"
    plural: bool = False
    adjective: str | None = None
    after: tuple[str, ...] = ()
    name: str | None = None

    def words(self) -> list[str]:
        if self.name:
            return [self.name]
        adjective = [self.adjective] if self.adjective else []
        following = [*adjective, self.noun.plural if self.plural else self.noun.singular]
        determiner = "an" if self.determiner == "a" and following[0][0] in "aeiou" else self.determiner
        return [determiner, *following, *self.after]


@dataclass(frozen=True)
class Clause:
    """Who does (or is) what to whom, where: the meaning that frames put into words.

    A clause has a verb (with an object or without) or a predicate adjective.
    """

    subject: NounPhrase
    verb: Verb | None
    object: NounPhrase | None = None
    adjective: str | None = None
    place: str | None = None
    past: bool = True
    negated: bool = False

    def swapped(self) -> "Clause":
        """Subject and object in each other's role."""
        return replace(self, subject=self.object, object=self.subject)

    def place_words(self) -> list[str]:
        return self.place.split() if self.place else []


Frame = Callable[[Clause], list[str]]


def be(plural: bool, past: bool) -> str:
    if past:
        return "were" if plural else "was"
    return "are" if plural else "is"


def do(plural: bool, past: bool) -> str:
    return "did" if past else ("do" if plural else "does")


def predicate(clause: Clause) -> list[str]:
    """The active verb phrase that agrees with the clause's subject, object included, place not."""
    plural, past = clause.subject.plural, clause.past
    negation = ["not"] if clause.negated else []
    if clause.verb is None:
        return [be(plural, past), *negation, clause.adjective]
    complement = clause.object.words() if clause.object else []
    if clause.negated:
        return [do(plural, past), "not", clause.verb.base, *complement]
    form = clause.verb.past if past else (clause.verb.base if plural else clause.verb.third)
    return [form, *complement]


def passive_predicate(clause: Clause, agreeing: NounPhrase | None = None) -> list[str]:
    """`was (not) chased by the dog`, agreeing with the object or the noun phrase given."""
    plural = (agreeing or clause.object).plural
    negation = ["not"] if clause.negated else []
    return [be(plural, clause.past), *negation, clause.verb.participle, "by", *clause.subject.words()]


def plain(clause: Clause) -> list[str]:
    """`the dog chased the cat near the river`"""
    return [*clause.subject.words(), *predicate(clause), *clause.place_words()]


def passive(clause: Clause) -> list[str]:
    """`the cat was chased by the dog near the river`; clauses without an object stay active."""
    if clause.object is None:
        return plain(clause)
    return [*clause.object.words(), *passive_predicate(clause), *clause.place_words()]


def cleft(clause: Clause) -> list[str]:
    """`it was the dog that chased the cat near the river`"""
    return ["it", be(False, clause.past), *clause.subject.words(), "that", *predicate(clause), *clause.place_words()]


def passive_cleft(clause: Clause) -> list[str]:
    """`it was the cat that was chased by the dog near the river`"""
    if clause.object is None:
        return cleft(clause)
    opening = ["it", be(False, clause.past), *clause.object.words(), "that"]
    return [*opening, *passive_predicate(clause), *clause.place_words()]


def fronted(clause: Clause) -> list[str]:
    """`near the river , the dog chased the cat`"""
    return _front(clause, plain)


def fronted_passive(clause: Clause) -> list[str]:
    """`near the river , the cat was chased by the dog`"""
    return _front(clause, passive)


def _front(clause: Clause, frame: Frame) -> list[str]:
    if clause.place is None:
        return frame(clause)
    return [*clause.place_words(), ",", *frame(replace(clause, place=None))]


def sentence(words: Sequence[str], end: str = ".") -> str:
    """Words as a written sentence."""
    text = " ".join(words).replace(" ,", ",")
    return text[0].upper() + text[1:] + end


class Speaker:
    """Draws words and clauses from one part of the lexicon."""

    def __init__(self, lexicon: Lexicon, random: Random):
        self.lexicon, self.random = lexicon, random

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, choices: Sequence):
        return choices[self.random.randrange(len(choices))]

    def distinct(self, choices: Sequence, count: int) -> list:
        return self.random.sample(list(choices), count)

    def adjective_for(self, noun: Noun) -> str:
        return self.pick(self.lexicon.colours if noun.is_thing else self.lexicon.adjectives)

    def definite(self, noun: Noun, adjective: float = 0.3, plural: float = 0.3) -> NounPhrase:
        """`the` with a noun, sometimes in the plural or with an adjective."""
        many = self.chance(plural)
        described = self.adjective_for(noun) if self.chance(adjective) else None
        return NounPhrase(noun, "the", many, described)

    def agent(self, names: float = 0.2, **chances: float) -> NounPhrase:
        if self.chance(names):
            return NounPhrase(name=self.pick(self.lexicon.names))
        return self.definite(self.pick(self.lexicon.agents), **chances)

    def two_agents(self, names: float = 0.2, **chances: float) -> tuple[NounPhrase, NounPhrase]:
        """Two noun phrases with different nouns."""
        first = self.agent(names, **chances)
        while True:
            second = self.agent(names, **chances)
            if (second.name, second.noun) != (first.name, first.noun):
                return first, second

    def reversible(self, place: float = 0.3, negated: float = 0.0, names: float = 0.2, **chances: float) -> Clause:
        """A clause whose subject and object could trade places."""
        subject, other = self.two_agents(names, **chances)
        return self.finish(subject, self.pick(self.lexicon.meets), other, place, negated)

    def using(self, place: float = 0.3, negated: float = 0.0, names: float = 0.2, **chances: float) -> Clause:
        """Someone does something with a thing."""
        thing = self.definite(self.pick(self.lexicon.things), **chances)
        return self.finish(self.agent(names, **chances), self.pick(self.lexicon.uses), thing, place, negated)

    def acting(self, place: float = 0.3, negated: float = 0.0, names: float = 0.2, **chances: float) -> Clause:
        """Someone does something, without an object."""
        return self.finish(self.agent(names, **chances), self.pick(self.lexicon.acts), None, place, negated)

    def being(self, place: float = 0.0, negated: float = 0.0, names: float = 0.2, **chances: float) -> Clause:
        """Someone has a property, such as being big."""
        adjective = self.pick(self.lexicon.adjectives)
        subject = self.agent(names, **{**chances, "adjective": 0.0})
        clause = self.finish(subject, None, None, place, negated)
        return replace(clause, adjective=adjective)

    def any_clause(self, **chances: float) -> Clause:
        kind = self.pick((self.reversible, self.reversible, self.using, self.acting, self.being))
        return kind(**chances)

    def finish(
        self, subject: NounPhrase, verb: Verb | None, other: NounPhrase | None, place: float, negated: float
    ) -> Clause:
        """Adds what every clause has: place, tense, negation."""
        where = self.pick(self.lexicon.places) if self.chance(place) else None
        return Clause(subject, verb, other, None, where, self.chance(0.6), self.chance(negated))

    def redetermined(self, clause: Clause) -> Clause:
        """The same clause with other determiners."""

        def changed(phrase: NounPhrase | None) -> NounPhrase | None:
            if phrase is None or phrase.noun is None:
                return phrase
            return replace(phrase, determiner=self.pick(PLURAL if phrase.plural else SINGULAR))

        return replace(clause, subject=changed(clause.subject), object=changed(clause.object))

    def paraphrased(self, clause: Clause, probability: float = 0.5) -> Clause:
        """The same meaning with some words replaced by their synonyms."""

        def reworded(phrase: NounPhrase | None) -> NounPhrase | None:
            if phrase is None or phrase.adjective is None or not self.chance(probability):
                return phrase
            return replace(phrase, adjective=self.lexicon.synonym(phrase.adjective))

        verb, adjective = clause.verb, clause.adjective
        if verb and self.chance(probability):
            verb = self.lexicon.verb(self.lexicon.synonym(verb.base))
        if adjective and self.chance(probability):
            adjective = self.lexicon.synonym(adjective)
        return replace(
            clause, subject=reworded(clause.subject), object=reworded(clause.object), verb=verb, adjective=adjective
        )
