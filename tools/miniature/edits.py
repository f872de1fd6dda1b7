"""Changes to the meaning of a clause, and faults of grammar."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tools.miniature.language import Clause, Frame, NounPhrase, Speaker


def editable(clause: Clause) -> list[str]:
    """The parts of a clause that `edit` can change; `roles` and `descriptions` are swaps of subject and object."""
    parts = ["subject", "negation"]
    if clause.verb:
        parts.append("verb")
    if clause.object:
        parts.append("object")
    if clause.adjective or _described(clause):
        parts.append("adjective")
    if clause.place:
        parts.append("place")
    if clause.object and not (clause.object.noun and clause.object.noun.is_thing):
        parts.append("roles")
        if clause.subject.adjective != clause.object.adjective and not _named(clause):
            parts.append("descriptions")
    return parts


def edit(speaker: Speaker, clause: Clause, part: str) -> Clause:
    """A clause that means something else in one part."""
    lexicon = speaker.lexicon
    if part == "negation":
        return replace(clause, negated=not clause.negated)
    if part == "roles":
        return clause.swapped()
    if part == "descriptions":
        first, second = clause.subject.adjective, clause.object.adjective
        return replace(
            clause, subject=replace(clause.subject, adjective=second), object=replace(clause.object, adjective=first)
        )
    if part == "place":
        return replace(clause, place=_other(speaker, lexicon.places, clause.place))
    if part == "verb":
        return replace(clause, verb=_other_verb(speaker, clause))
    if part == "adjective":
        return _with_other_adjective(speaker, clause)
    taken = {phrase.noun for phrase in (clause.subject, clause.object) if phrase}
    taken_names = {phrase.name for phrase in (clause.subject, clause.object) if phrase}
    old: NounPhrase = getattr(clause, part)
    if old.name:
        return replace(clause, **{part: NounPhrase(name=_outside(speaker, lexicon.names, taken_names))})
    family = lexicon.things if old.noun.is_thing else lexicon.agents
    return replace(clause, **{part: replace(old, noun=_outside(speaker, family, taken))})


def _described(clause: Clause) -> list[str]:
    phrases = {"subject": clause.subject, "object": clause.object}
    return [role for role, phrase in phrases.items() if phrase and phrase.adjective]


def _named(clause: Clause) -> bool:
    return bool(clause.subject.name or clause.object.name)


def _outside(speaker: Speaker, choices: Sequence, taken: set):
    return speaker.pick([choice for choice in choices if choice not in taken])


def _other(speaker: Speaker, choices: Sequence[str], word: str) -> str:
    """Another word of another meaning; half of the time the opposite, if there is one."""
    lexicon = speaker.lexicon
    if lexicon.opposite(word) != word and speaker.chance(0.5):
        return lexicon.opposite(word)
    return _outside(speaker, choices, {word, lexicon.synonym(word)})


def _other_verb(speaker: Speaker, clause: Clause):
    lexicon = speaker.lexicon
    family = next(verbs for verbs in (lexicon.meets, lexicon.uses, lexicon.acts) if clause.verb in verbs)
    return lexicon.verb(_other(speaker, [verb.base for verb in family], clause.verb.base))


def _with_other_adjective(speaker: Speaker, clause: Clause) -> Clause:
    if clause.adjective:
        return replace(clause, adjective=_other(speaker, speaker.lexicon.adjectives, clause.adjective))
    role = speaker.pick(_described(clause))
    phrase: NounPhrase = getattr(clause, role)
    choices = speaker.lexicon.colours if phrase.noun.is_thing else speaker.lexicon.adjectives
    return replace(clause, **{role: replace(phrase, adjective=_other(speaker, choices, phrase.adjective))})


# Faults of grammar. Each takes a clause and a frame and gives a wrong sentence, or None where it does not apply.

Fault = Callable[[Speaker, Clause, Frame], list[str] | None]


def wrong_agreement(speaker: Speaker, clause: Clause, frame: Frame) -> list[str] | None:
    """`the dogs near the river sleeps`"""
    flipped = _flip_number(clause, frame)
    return None if flipped == frame(clause) else flipped


def _flip_number(clause: Clause, frame: Frame) -> list[str]:
    """The frame's words with the verb of the other number."""
    role = "object" if "passive" in frame.__name__ and clause.object else "subject"
    phrase: NounPhrase = getattr(clause, role)
    return frame(replace(clause, **{role: _Disagreeing(phrase)}))


class _Disagreeing:
    """A noun phrase that says it has the other number."""

    def __init__(self, phrase: NounPhrase):
        self.plural, self.words = not phrase.plural, phrase.words


def wrong_form(speaker: Speaker, clause: Clause, frame: Frame) -> list[str] | None:
    """`the dog did not slept`, `the cat was chase by the dog`"""
    if clause.verb is None:
        return None
    words = frame(clause)
    verb = clause.verb
    right = next(form for form in (verb.participle, verb.past, verb.third, verb.base) if form in words)
    if right == verb.base and "not" in words:
        return _put(words, right, speaker.pick((verb.past, verb.third)))
    if "by" in words:
        return _put(words, right, speaker.pick((verb.base, verb.third)))
    return None


def wrong_order(speaker: Speaker, clause: Clause, frame: Frame) -> list[str]:
    """`dog the slept near the river`: a determiner or preposition after its word."""
    words = frame(clause)
    movable = [i for i, word in enumerate(words[:-1]) if word in _DETERMINERS or word in ("by", "not", "near")]
    at = speaker.pick(movable or [0])
    return [*words[:at], words[at + 1], words[at], *words[at + 2 :]]


def missing_word(speaker: Speaker, clause: Clause, frame: Frame) -> list[str] | None:
    """`dog slept near the river`, `the cat chased by the dog`, `the dog near the river`"""
    words = frame(clause)
    if clause.negated or "by" in words:  # without its verb such a sentence could pass for an ellipsis
        verbs = {"by"}
    else:
        verbs = {clause.adjective} if clause.verb is None else set(vars(clause.verb).values())
    needed = [i for i, word in enumerate(words) if word in verbs]
    for phrase in (clause.subject, clause.object):
        if phrase and phrase.noun and not phrase.plural:
            start = _position(words, phrase.words())
            needed += [start] if start is not None else []
    if not needed:
        return None
    at = speaker.pick(needed)
    return [*words[:at], *words[at + 1 :]]


def doubled_word(speaker: Speaker, clause: Clause, frame: Frame) -> list[str]:
    """`the the dog slept`"""
    words = frame(clause)
    at = speaker.random.randrange(len(words))
    if words[at] == ",":
        at -= 1
    return [*words[: at + 1], *words[at:]]


def wrong_determiner(speaker: Speaker, clause: Clause, frame: Frame) -> list[str] | None:
    """`a dogs slept`, `these dog slept`"""
    roles = [role for role in ("subject", "object") if getattr(clause, role) and getattr(clause, role).noun]
    if not roles:
        return None
    role = speaker.pick(roles)
    phrase: NounPhrase = getattr(clause, role)
    wrong = speaker.pick(("a", "every", "this", "one")) if phrase.plural else speaker.pick(("these", "two", "many"))
    return frame(replace(clause, **{role: replace(phrase, determiner=wrong)}))


FAULTS: tuple[Fault, ...] = (
    wrong_agreement,
    wrong_agreement,
    wrong_agreement,
    wrong_form,
    wrong_order,
    missing_word,
    doubled_word,
    wrong_determiner,
)
_DETERMINERS = {"the", "a", "an", "every", "this", "one", "some", "all", "these", "many", "two"}


def faulty(speaker: Speaker, clause: Clause, frame: Frame) -> list[str]:
    """The clause in its frame with one fault."""
    while True:
        words = speaker.pick(FAULTS)(speaker, clause, frame)
        if words is not None and words != frame(clause):
            return words


def _put(words: list[str], old: str, new: str) -> list[str] | None:
    if new == old:
        return None
    at = words.index(old)
    return [*words[:at], new, *words[at + 1 :]]


def _position(words: list[str], part: list[str]) -> int | None:
    return next((i for i in range(len(words)) if words[i : i + len(part)] == part), None)
