"""The words of the miniature's English, in two parts: training and validation rows use only `TRAINING`, test rows only
`HELD_OUT`. Only the pretraining text uses both (`ALL`).

Function words (determiners, auxiliaries, conjunctions, question words) are common to both parts.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Noun:
    """A countable noun and the word for its kind (a dog is an animal)."""

    singular: str
    plural: str
    kind: str

    @property
    def is_thing(self) -> bool:
        """Whether things, not persons or animals, are of this kind."""
        return self.kind not in ("worker", "animal")


@dataclass(frozen=True)
class Verb:
    """Forms of a verb: chase, chases, chased (past), chased (participle)."""

    base: str
    third: str
    past: str
    participle: str


@dataclass(frozen=True)
class Lexicon:
    """One part of the vocabulary.

    Attributes:
        names: of persons.
        agents: nouns for those who act: persons and animals.
        things: nouns for what they act on.
        kinds: the kinds that replace nouns of this part in entailments.
        meets, uses: transitive verbs with a person or animal, and with a thing, as their object.
        acts: intransitive verbs.
        adjectives: of persons and animals.
        colours: adjectives of things.
        places: prepositional phrases.
        synonyms: pairs of adjectives, and of verbs by their base.
        opposites: pairs of adjectives, and of verbs by their base.
        works: what opinions are about; `parts` of them.
        praise, blame: adjectives of opinion.
        liking, disliking: verbs of opinion.
    """

    names: tuple[str, ...]
    agents: tuple[Noun, ...]
    things: tuple[Noun, ...]
    kinds: tuple[Noun, ...]
    meets: tuple[Verb, ...]
    uses: tuple[Verb, ...]
    acts: tuple[Verb, ...]
    adjectives: tuple[str, ...]
    colours: tuple[str, ...]
    places: tuple[str, ...]
    synonyms: tuple[tuple[str, str], ...]
    opposites: tuple[tuple[str, str], ...]
    works: tuple[Noun, ...]
    parts: tuple[Noun, ...]
    praise: tuple[str, ...]
    blame: tuple[str, ...]
    liking: tuple[Verb, ...]
    disliking: tuple[Verb, ...]

    def hyponyms(self) -> tuple[Noun, ...]:
        """The nouns whose kind belongs to this part."""
        kinds = {kind.singular for kind in self.kinds}
        return tuple(noun for noun in (*self.agents, *self.things) if noun.kind in kinds)

    def kind_of(self, noun: Noun) -> Noun:
        """The noun for the kind of a noun."""
        return next(kind for kind in self.kinds if kind.singular == noun.kind)

    def synonym(self, word: str) -> str:
        """The other word of its pair, or the word itself."""
        return _other(self.synonyms, word)

    def opposite(self, word: str) -> str:
        """The opposite of a word, or the word itself."""
        return _other(self.opposites, word)

    def verb(self, base: str) -> Verb:
        """A verb of this part by its base form."""
        every = (*self.meets, *self.uses, *self.acts, *self.liking, *self.disliking)
        return next(verb for verb in every if verb.base == base)


def _other(pairs: tuple[tuple[str, str], ...], word: str) -> str:
    for first, second in pairs:
        if word in (first, second):
            return second if word == first else first
    return word


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((first, second) for first, second in (pair.split("/") for pair in text.split()))


def _nouns(text: str, kind: str = "") -> tuple[Noun, ...]:
    """Nouns of one kind; by default each noun is its own kind (animal, fruit)."""
    return tuple(Noun(word, _plural(word), kind or word) for word in text.split())


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    return word[:-1] + "ies" if word[-1] == "y" and word[-2] not in "aeiou" else word + "s"


def _verbs(text: str) -> tuple[Verb, ...]:
    """Regular verbs by their base; irregular ones as base/past/participle."""
    verbs = []
    for item in text.split():
        base, *others = item.split("/")
        stem = base[:-1] + "i" if base[-1] == "y" and base[-2] not in "aeiou" else base
        past = stem + ("d" if stem.endswith("e") else "ed")
        verbs.append(Verb(base, _plural(base), *(others or (past, past))))
    return tuple(verbs)


TRAINING = Lexicon(
    names=_words("Tom Anna Peter Mary Paul Lucy Henry Clara"),
    agents=_nouns("doctor farmer singer baker driver painter lawyer sailor", "worker")
    + _nouns("dog cat horse cow goat lion rabbit bear", "animal"),
    things=_nouns("apple pear plum lemon", "fruit")
    + _nouns("hammer spade saw drill", "tool")
    + _nouns("car truck boat wagon", "vehicle")
    + _nouns("hat coat shirt scarf", "garment"),
    kinds=_nouns("animal fruit tool"),
    meets=_verbs("help assist watch observe frighten scare follow trail visit push pull tease comfort call"),
    uses=_verbs("fix repair buy/bought/bought purchase paint sell/sold/sold find/found/found discover want"),
    acts=_verbs("sleep/slept/slept run/ran/run sing/sang/sung laugh work wait"),
    adjectives=_words("big large small little happy glad sad unhappy fast quick slow"),
    colours=_words("red green heavy light"),
    places=("near the river", "behind the house", "in the garden", "at the school", "near the station"),
    synonyms=_pairs(
        "help/assist watch/observe frighten/scare follow/trail fix/repair buy/purchase find/discover big/large"
        " small/little happy/glad sad/unhappy fast/quick"
    ),
    opposites=_pairs(
        "push/pull tease/comfort buy/sell big/small large/little happy/sad glad/unhappy fast/slow heavy/light"
    ),
    works=_nouns("film book meal song hotel story"),
    parts=_nouns("start plot voice room"),
    praise=_words("great lovely wonderful brilliant charming nice fantastic good"),
    blame=_words("awful dull terrible boring ugly annoying disappointing bad"),
    liking=_verbs("like love praise recommend"),
    disliking=_verbs("dislike hate blame avoid"),
)

HELD_OUT = Lexicon(
    names=_words("John Emma David Sarah Mark Nina Simon Julia"),
    agents=_nouns("nurse pilot soldier writer dancer hunter clerk judge", "worker")
    + _nouns("pig tiger monkey duck donkey snake camel eagle", "animal"),
    things=_nouns("peach orange grape melon", "fruit")
    + _nouns("needle axe brush ladder", "tool")
    + _nouns("bus train plane ship", "vehicle")
    + _nouns("jacket dress sock glove", "garment"),
    kinds=_nouns("worker vehicle garment"),
    meets=_verbs("chase pursue thank greet welcome honour mock trust doubt meet/met/met encounter attack defend"),
    uses=_verbs("throw/threw/thrown toss clean wash break/broke/broken smash hide/hid/hidden show/showed/shown carry"),
    acts=_verbs("swim/swam/swum jump smile march rest shout"),
    adjectives=_words("strong powerful weak feeble clever smart stupid foolish rich wealthy poor"),
    colours=_words("blue yellow thick thin"),
    places=("beside the lake", "outside the market", "under the bridge", "in the park", "at the church"),
    synonyms=_pairs(
        "chase/pursue greet/welcome meet/encounter throw/toss clean/wash break/smash strong/powerful weak/feeble"
        " clever/smart stupid/foolish rich/wealthy"
    ),
    opposites=_pairs(
        "honour/mock trust/doubt attack/defend hide/show strong/weak powerful/feeble clever/stupid smart/foolish"
        " rich/poor thick/thin"
    ),
    works=_nouns("novel soup concert trip play opera"),
    parts=_nouns("end actor dish music"),
    praise=_words("superb delightful excellent pleasant splendid amusing enjoyable perfect"),
    blame=_words("horrible dreadful nasty dismal tedious unpleasant miserable lousy"),
    liking=_verbs("enjoy admire adore applaud"),
    disliking=_verbs("despise regret/regretted/regretted detest reject"),
)

ALL = Lexicon(
    **{field.name: getattr(TRAINING, field.name) + getattr(HELD_OUT, field.name) for field in fields(Lexicon)}
)
