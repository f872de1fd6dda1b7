"""The tasks over one sentence: acceptability and sentiment."""

from dataclasses import replace

from tools.miniature.edits import faulty
from tools.miniature.language import (
    Clause,
    NounPhrase,
    Speaker,
    be,
    cleft,
    do,
    fronted,
    passive,
    passive_cleft,
    plain,
    sentence,
)

Row = dict[str, str | int | float]


def acceptability(speaker: Speaker, held_out: bool, label: int) -> Row:
    """A correct sentence (1), or one with a single fault of agreement, form, order, or a missing or doubled word (0).

    Held-out templates: cleft sentences, and relative clauses between a subject and its verb.
    """
    clause, frame = acceptability_material(speaker, held_out)
    words = frame(clause) if label else faulty(speaker, clause, frame)
    return {"sentence": sentence(words), "label": label}


def acceptability_material(speaker: Speaker, held_out: bool) -> tuple[Clause, object]:
    """A clause and the frame to say it in."""
    clause = speaker.any_clause(negated=0.25, plural=0.5, names=0.15, adjective=0.2)
    clause = replace(clause, past=speaker.chance(0.25))
    if held_out and speaker.chance(0.5):
        return clause, speaker.pick((cleft, passive_cleft))
    clause = speaker.redetermined(clause)
    subject = clause.subject
    if held_out and subject.noun is None:
        return acceptability_material(speaker, held_out)
    if held_out:
        return replace(clause, subject=replace(subject, after=_relative(speaker, subject)), place=None), plain
    if speaker.chance(0.5) and subject.noun:
        beside = NounPhrase(speaker.pick(speaker.lexicon.agents), "the", speaker.chance(0.5))
        clause = replace(clause, subject=replace(subject, after=("near", *beside.words())))
    return clause, speaker.pick((plain, plain, passive, fronted))


def _relative(speaker: Speaker, subject: NounPhrase) -> tuple[str, ...]:
    """`that chased the cats`, `that the cats chased`"""
    other = NounPhrase(speaker.pick(speaker.lexicon.agents), "the", speaker.chance(0.5))
    verb = speaker.pick(speaker.lexicon.meets).past
    return ("that", verb, *other.words()) if speaker.chance(0.5) else ("that", *other.words(), verb)


def sentiment(speaker: Speaker, held_out: bool, label: int) -> Row:
    """Whether a sentence speaks well of something (1) or badly (0); in half of the sentences a negation reverses it.

    Of two contrasted opinions the one in the main clause counts. Held-out templates: other negators (`never`,
    `nothing about`, `far from`, `few people`), and the main clause before the concession.
    """
    give = held_out_opinion if held_out else opinion
    main = give(speaker, label)
    if speaker.chance(0.45):
        return {"sentence": sentence(main), "label": label}
    other = give(speaker, speaker.random.randrange(2))
    joined = contrast_held_out(speaker, main, other) if held_out else contrast(speaker, main, other)
    return {"sentence": sentence(joined), "label": label}


def contrast(speaker: Speaker, main: list[str], other: list[str]) -> list[str]:
    return speaker.pick((["although", *other, ",", *main], [*other, ",", "but", *main]))


def contrast_held_out(speaker: Speaker, main: list[str], other: list[str]) -> list[str]:
    return speaker.pick(([*main, ",", "although", *other], [*other, ",", "yet", *main]))


def opinion(speaker: Speaker, positive: int, negation: float = 0.5) -> list[str]:
    """One opinion: an adjective or an attitude, half of the time negated."""
    negated = speaker.chance(negation)
    word_is_positive = bool(positive) != negated
    about, lexicon = _subject_of_opinion(speaker), speaker.lexicon
    if speaker.chance(0.5):
        adjective = speaker.pick(lexicon.praise if word_is_positive else lexicon.blame)
        turn = ["not"] if negated else speaker.pick(([], ["really"]))
        return [*about.words(), be(about.plural, speaker.chance(0.7)), *turn, adjective]
    verb = speaker.pick(lexicon.liking if word_is_positive else lexicon.disliking)
    who = NounPhrase(name=speaker.pick(lexicon.names))
    if not negated:
        subject = speaker.pick((who.words(), ["everyone"]))
        if speaker.chance(0.5):  # the form of the verb must not tell whether there is a negation
            return [*subject, "did", "really", verb.base, *about.words()]
        return [*subject, verb.past, *about.words()]
    if speaker.chance(0.5):
        return ["nobody", verb.past, *about.words()]
    return [*who.words(), do(False, True), "not", verb.base, *about.words()]


def held_out_opinion(speaker: Speaker, positive: int, negation: float = 0.5) -> list[str]:
    """The same in templates that no training row has."""
    negated = speaker.chance(negation)
    word_is_positive = bool(positive) != negated
    about, lexicon = _subject_of_opinion(speaker), speaker.lexicon
    adjective = speaker.pick(lexicon.praise if word_is_positive else lexicon.blame)
    verb = speaker.pick(lexicon.liking if word_is_positive else lexicon.disliking)
    name, was = speaker.pick(lexicon.names), be(about.plural, True)
    if negated:
        return speaker.pick(
            (
                [*about.words(), was, "never", adjective],
                [*about.words(), was, "far", "from", adjective],
                ["nothing", "about", *about.words(), "was", adjective],
                [name, "never", verb.past, *about.words()],
                ["few", "people", verb.past, *about.words()],
            )
        )
    return speaker.pick(
        (
            [*about.words(), was, "always", adjective],
            [*about.words(), was, "truly", adjective],
            ["everything", "about", *about.words(), "was", adjective],
            [name, "always", verb.past, *about.words()],
            ["many", "people", verb.past, *about.words()],
        )
    )


def _subject_of_opinion(speaker: Speaker) -> NounPhrase:
    """`the film`, `the plot of the film`"""
    work = NounPhrase(speaker.pick(speaker.lexicon.works))
    if speaker.chance(0.7):
        return work
    return NounPhrase(speaker.pick(speaker.lexicon.parts), after=("of", *work.words()))
