"""The target tasks of few-shot transfer: commitment (three-way entailment) and paraphrase by word order."""

from dataclasses import replace

from tools.miniature.edits import edit, editable
from tools.miniature.language import Clause, Speaker, passive, plain, sentence
from tools.miniature.pairs import comparable
from tools.miniature.sentences import Row

ENTAILED, CONTRADICTED, OPEN = 0, 1, 2

# Openings after which the clause is true, false, or open.
OPENINGS = {
    ENTAILED: ("{} knew that", "{} saw that", "it is true that"),
    CONTRADICTED: ("{} pretended that", "it is false that", "{} was wrong that"),
    OPEN: ("{} thought that", "{} hoped that", "perhaps"),
}
HELD_OUT_OPENINGS = {
    ENTAILED: ("{} noticed that", "{} remembered that", "it is certain that"),
    CONTRADICTED: ("{} lied that", "it is wrong that", "{} dreamed that"),
    OPEN: ("{} believed that", "{} feared that", "maybe"),
}


def opening(speaker: Speaker, held_out: bool, commitment: int) -> list[str]:
    """`Tom knew that`, `perhaps`"""
    choices = (HELD_OUT_OPENINGS if held_out else OPENINGS)[commitment]
    return speaker.pick(choices).format(speaker.pick(speaker.lexicon.names)).split()


def commitment(speaker: Speaker, held_out: bool, label: int) -> Row:
    """Whether a clause is true (0), false (1) or open (2), given that someone knew, lied or thought it."""
    clause = speaker.any_clause(negated=0.3, adjective=0.2)
    flipped = speaker.chance(0.5)
    said = edit(speaker, clause, "negation") if flipped else clause
    degree = {ENTAILED: CONTRADICTED, CONTRADICTED: ENTAILED}.get(label, label) if flipped else label
    premise = [*opening(speaker, held_out, degree), *plain(said)]
    return {"premise": sentence(premise), "hypothesis": sentence(plain(clause)), "label": label}


def word_order(speaker: Speaker, held_out: bool, label: int) -> Row:
    """Two sentences of the same words that mean the same (1) or not (0). Held-out template: passives."""
    first, second = _clause(speaker), _clause(speaker)
    while first.subject == second.subject:
        second = _clause(speaker)
    frame = passive if held_out else plain
    one = [*frame(first), "and", *frame(second)]
    if label:
        other = [*frame(second), "and", *frame(first)]
    else:
        first, second = _rearranged(speaker, first, second)
        two = [frame(first), frame(second)]
        speaker.random.shuffle(two)
        other = [*two[0], "and", *two[1]]
    return {"sentence1": sentence(one), "sentence2": sentence(other), "label": label}


def _clause(speaker: Speaker) -> Clause:
    return replace(comparable(speaker), place=None, negated=False, past=True)


def _rearranged(speaker: Speaker, first: Clause, second: Clause) -> tuple[Clause, Clause]:
    """The first clause with its roles swapped, or the clauses with each other's subjects."""
    if "roles" in editable(first) and speaker.chance(0.5):
        return first.swapped(), second
    return replace(first, subject=second.subject), replace(second, subject=first.subject)
