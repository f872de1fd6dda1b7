"""The tasks over two sentences: paraphrase, similarity, answering, entailment."""

from dataclasses import replace

from tools.miniature.edits import edit, editable
from tools.miniature.entailment import entailment_pair
from tools.miniature.language import (
    Clause,
    Frame,
    Speaker,
    be,
    cleft,
    fronted,
    fronted_passive,
    passive,
    passive_cleft,
    plain,
    sentence,
)
from tools.miniature.sentences import Row

# What each difference subtracts from 5.0, the score of two sentences that say the same.
COSTS = {
    "subject": 1.2,
    "object": 1.2,
    "verb": 1.4,
    "roles": 1.6,
    "negation": 1.6,
    "descriptions": 0.8,
    "place": 0.8,
    "adjective": 0.8,
}


def frames_for(clause: Clause, held_out: bool) -> tuple[Frame, ...]:
    """The training or the held-out templates that suit a clause; fronting needs a place."""
    if held_out:
        return (cleft, passive_cleft, fronted_passive) if clause.place else (cleft, passive_cleft)
    return (plain, passive, fronted) if clause.place else (plain, passive)


def two_frames(speaker: Speaker, clause: Clause, held_out: bool) -> list[Frame]:
    """Different frames for two sentences; held out, at least one is a template that the training rows do not have."""
    frames = speaker.distinct(frames_for(clause, held_out), 2)
    if held_out and speaker.chance(0.5):
        frames[speaker.random.randrange(2)] = speaker.pick(frames_for(clause, False))
    return frames


def comparable(speaker: Speaker) -> Clause:
    """A clause with enough parts to differ in."""
    kind = speaker.pick((speaker.reversible, speaker.reversible, speaker.using))
    return kind(place=1.0 if speaker.chance(0.4) else 0.0, negated=0.3, names=0.2, adjective=0.35, plural=0.2)


def paraphrase(speaker: Speaker, held_out: bool, label: int) -> Row:
    """Two sentences that say the same (1), or differ in who does what, in a word, or in a negation (0)."""
    clause = comparable(speaker)
    other = clause
    if not label:
        parts = editable(clause)
        rearranged = [part for part in ("roles", "roles", "descriptions") if part in parts]
        changed = [part for part in ("verb", "negation", "adjective", "subject", "object") if part in parts]
        other = edit(speaker, clause, speaker.pick(rearranged if rearranged and speaker.chance(0.6) else changed))
    return _pair(speaker, held_out, clause, speaker.paraphrased(other), label)


def similarity(speaker: Speaker, held_out: bool, score: float) -> Row:
    """Two sentences and how similar their meanings are, 0.0 to 5.0: 5.0 minus the cost of every difference.

    Args:
        speaker: draws the words.
        held_out: whether to use the held-out templates.
        score: the wanted score; the nearest of several pairs is returned.
    """
    best: tuple[float, Clause, Clause] | None = None
    while best is None or best[0] > 0.4:
        clause = comparable(speaker)
        other, value = clause, 5.0
        while value - score > 0.4:
            parts = [part for part in editable(other) if part in COSTS]
            part = speaker.pick(parts)
            changed = edit(speaker, other, part)
            value = round(5.0 - distance(clause, changed), 1)
            other = changed
        if best is None or abs(value - score) < best[0]:
            best = (abs(value - score), clause, other)
    _, clause, other = best
    label = max(0.0, round(5.0 - distance(clause, other), 1))
    return _pair(speaker, held_out, clause, speaker.paraphrased(other), label)


def differences(first: Clause, second: Clause) -> list[str]:
    """The parts in which two clauses of one build differ."""
    found = []
    for role in ("subject", "object"):
        one, two = getattr(first, role), getattr(second, role)
        if one and two and (one.noun, one.name) != (two.noun, two.name):
            found.append(role)
    if found == ["subject", "object"] and _who(first.subject) == _who(second.object):
        found = ["roles"] if _who(first.object) == _who(second.subject) else found
    if first.verb != second.verb:
        found.append("verb")
    descriptions = [(clause.subject.adjective, clause.object and clause.object.adjective) for clause in (first, second)]
    if (first.adjective, *sorted(map(str, descriptions[0]))) != (second.adjective, *sorted(map(str, descriptions[1]))):
        found.append("adjective")
    elif descriptions[0] != descriptions[1] and "roles" not in found:
        found.append("descriptions")
    if first.place != second.place:
        found.append("place")
    if first.negated != second.negated:
        found.append("negation")
    return found


def distance(first: Clause, second: Clause) -> float:
    """The sum of the costs of the differences between two clauses."""
    return sum(COSTS[part] for part in differences(first, second))


def _who(phrase) -> tuple:
    return phrase.noun, phrase.name


def _pair(speaker: Speaker, held_out: bool, clause: Clause, other: Clause, label: float) -> Row:
    first_frame, second_frame = two_frames(speaker, clause, held_out)
    return {"sentence1": sentence(first_frame(clause)), "sentence2": sentence(second_frame(other)), "label": label}


def answering(speaker: Speaker, held_out: bool, answered: int) -> Row:
    """A question on a clause and a sentence that answers it (label 0, as in GLUE), or something near it that does not.

    Held-out templates: passive questions, cleft sentences.
    """
    question, said, _ = question_and_sentence(speaker, held_out, bool(answered))
    return {"question": question, "sentence": said, "label": 1 - answered}


def question_and_sentence(speaker: Speaker, held_out: bool, answered: bool) -> tuple[str, str, str]:
    """Question, sentence, and the answer's words (`unknown` where the sentence does not have it)."""
    clause = replace(comparable(speaker), negated=False, past=True)
    asked = speaker.pick(("subject", "subject", "object", "place") if clause.place else ("subject", "object"))
    said = clause
    if not answered:
        parts = [part for part in editable(clause) if part not in (asked, "negation", "descriptions", "place")]
        parts = ["roles"] if "roles" in parts and asked != "place" and speaker.chance(0.6) else parts
        parts = [part for part in parts if part != "adjective" or _visible(clause, asked)]
        said = edit(speaker, clause, speaker.pick(parts or ["verb"]))
        if asked != "place" and _undecided(said, clause, asked):
            said = edit(speaker, clause, "verb")
    frame = speaker.pick(frames_for(clause, held_out))
    said = speaker.paraphrased(said)
    answer = said.place_words() if asked == "place" else getattr(said, asked).words()
    question = sentence(question_on(clause, asked, held_out), "?")
    return question, sentence(frame(said)), " ".join(answer) if answered else "unknown"


def _visible(clause: Clause, asked: str) -> bool:
    """Whether an adjective can be changed in a part that the question states."""
    other = {"subject": clause.object, "object": clause.subject}.get(asked)
    return other is not None and other.adjective is not None and getattr(clause, asked).adjective is None


def _undecided(said: Clause, clause: Clause, asked: str) -> bool:
    """Whether the changed sentence still answers the question."""
    stated = "object" if asked == "subject" else "subject"
    return said.verb == clause.verb and getattr(said, stated) == getattr(clause, stated)


def question_on(clause: Clause, asked: str, held_out: bool) -> list[str]:
    """`who chased the cat`, `what did the dog chase`, `where did the dog chase the cat`, and passive ones."""
    subject, verb, other = clause.subject, clause.verb, clause.object
    is_thing = other.noun is not None and other.noun.is_thing
    if held_out:
        was = be(other.plural, True)
        if asked == "subject":
            return ["by", "whom", was, *other.words(), verb.participle]
        if asked == "object":
            return ["what" if is_thing else "who", "was", verb.participle, "by", *subject.words()]
        return ["where", was, *other.words(), verb.participle, "by", *subject.words()]
    if asked == "subject":
        return ["who", verb.past, *other.words()]
    if asked == "object":
        return ["what" if is_thing else "whom", "did", *subject.words(), verb.base]
    return ["where", "did", *subject.words(), verb.base, *other.words()]


def entailment(speaker: Speaker, held_out: bool, follows: int) -> Row:
    """Whether the second sentence follows from the first (label 0, as in GLUE) or not (1)."""
    premise, hypothesis, _ = entailment_pair(speaker, held_out, bool(follows))
    return {"sentence1": premise, "sentence2": hypothesis, "label": 1 - follows}
