"""Many small tasks that share words and rules:   python -m tools.miniature.families FOLDER --tasks 24 --rows 100

Every task asks one yes-or-no question about generated sentences. The questions are built from twelve properties of a
clause, such as whether it is negated or whether its subject is plural: a property itself, whether two sentences share
it, whether two properties hold at once, whether at least one does. Tasks of 6 are among those of 24, and these among
those of 96. Training and validation rows use the words of `lexicon.TRAINING`, test rows those of `lexicon.HELD_OUT`.

Writes `FOLDER/data/<task>/<split>.parquet` and `FOLDER/families_<tasks>.yaml`, a recipe that extends `mini/hyperpp`.
The same arguments write the same rows.
"""

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pyarrow as pa
import yaml
from pyarrow import parquet

from tools.miniature.language import (
    Clause,
    Frame,
    NounPhrase,
    Speaker,
    fronted,
    fronted_passive,
    passive,
    plain,
    sentence,
)
from tools.miniature.lexicon import HELD_OUT, TRAINING

EVALUATED = {"validation": 100, "test": 200}  # rows per task
LABELS = ("0", "1")


@dataclass(frozen=True)
class Said:
    """A clause and the frame that puts it into words."""

    clause: Clause
    frame: Frame

    @property
    def text(self) -> str:
        return sentence(self.frame(self.clause))


Property = Callable[[Said], bool]


def _kind(phrase: NounPhrase | None) -> str | None:
    return phrase.noun.kind if phrase is not None and phrase.noun is not None else None


# In clauses with two persons or animals, any of them in any role: every property is left open by all others.
PROPERTIES: dict[str, Property] = {
    "negated": lambda said: said.clause.negated,
    "subject_plural": lambda said: said.clause.subject.plural,
    "past": lambda said: said.clause.past,
    "subject_animal": lambda said: _kind(said.clause.subject) == "animal",
    "passive": lambda said: said.frame in (passive, fronted_passive),
    "object_plural": lambda said: said.clause.object is not None and said.clause.object.plural,
    "fronted": lambda said: said.frame in (fronted, fronted_passive),
    "object_animal": lambda said: _kind(said.clause.object) == "animal",
    "subject_described": lambda said: said.clause.subject.adjective is not None,
    "object_described": lambda said: said.clause.object is not None and said.clause.object.adjective is not None,
    "subject_named": lambda said: said.clause.subject.name is not None,
    "object_named": lambda said: said.clause.object is not None and said.clause.object.name is not None,
}


@dataclass(frozen=True)
class Question:
    """One task: its name, how many sentences a row has, and what the answer is."""

    name: str
    sentences: int
    answer: Callable[..., bool]

    @property
    def template(self) -> str:
        if self.sentences == 1:
            return "sentence: {sentence1}"
        return "sentence1: {sentence1} sentence2: {sentence2}"


def questions(count: int) -> list[Question]:
    """The first so many tasks, always in the same order.

    Raises:
        ValueError: there are not so many.
    """
    alone = [Question(name, 1, holds) for name, holds in PROPERTIES.items()]
    same = [Question(f"same_{name}", 2, _same(holds)) for name, holds in PROPERTIES.items()]
    pairs = [pair for pair in itertools.combinations(PROPERTIES, 2) if pair not in _IMPOSSIBLE]
    both = [Question(f"{one}_and_{other}", 1, _both(one, other)) for one, other in pairs]
    either = [Question(f"{one}_or_{other}", 1, _either(one, other)) for one, other in pairs]
    every = [*alone, *same, *both, *either]
    if not 1 <= count <= len(every):
        raise ValueError(f"there are 1 to {len(every)} tasks")
    return every[:count]


# A name has no number, kind or adjective.
_IMPOSSIBLE = {
    (f"{role}_{what}", f"{role}_named") for role in ("subject", "object") for what in ("plural", "animal", "described")
}


def _same(holds: Property) -> Callable[[Said, Said], bool]:
    return lambda first, second: holds(first) == holds(second)


def _both(one: str, other: str) -> Property:
    return lambda said: PROPERTIES[one](said) and PROPERTIES[other](said)


def _either(one: str, other: str) -> Property:
    return lambda said: PROPERTIES[one](said) or PROPERTIES[other](said)


def draw(speaker: Speaker) -> Said:
    """A sentence whose properties are drawn independently of each other, as far as they can be."""
    clause = speaker.reversible(place=1.0, negated=0.5, names=0.3, adjective=0.5, plural=0.5)
    return Said(clause, speaker.pick((plain, passive, fronted, fronted_passive)))


def rows(question: Question, split: str, count: int) -> list[dict[str, str | int]]:
    """The rows of one split, no two the same, half of each label (one more of label 0 where `count` is odd)."""
    speaker = Speaker(HELD_OUT if split == "test" else TRAINING, Random(f"families {question.name} {split}"))
    found: list[dict[str, str | int]] = []
    seen: set[tuple[str, ...]] = set()
    for i in range(count):
        while True:
            said = [draw(speaker) for _ in range(question.sentences)]
            texts = tuple(one.text for one in said)
            if question.answer(*said) == bool(i % 2) and texts not in seen:
                break
        seen.add(texts)
        found.append({**{f"sentence{n}": text for n, text in enumerate(texts, 1)}, "label": i % 2})
    speaker.random.shuffle(found)
    return found


def write(folder: Path, tasks: int, training_rows: int) -> Path:
    """Writes the data of so many tasks and a recipe that trains on them; returns the recipe's path."""
    chosen = questions(tasks)
    for question in chosen:
        for split, count in {"train": training_rows, **EVALUATED}.items():
            path = folder / "data" / question.name / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(pa.Table.from_pylist(rows(question, split, count)), path)
    recipe = folder / f"families_{tasks}.yaml"
    recipe.write_text(_recipe(chosen, training_rows), encoding="utf-8")
    return recipe


def _recipe(chosen: list[Question], training_rows: int) -> str:
    tasks = [
        {
            "name": question.name,
            "files": {split: f"data/{question.name}/{split}.parquet" for split in ("train", *EVALUATED)},
            "template": question.template,
            "labels": list(LABELS),
            "label_names": ["no", "yes"],
        }
        for question in chosen
    ]
    values = {
        "extends": "mini/hyperpp",
        "name": f"families_{len(chosen)}",
        "paper": None,
        "tasks": tasks,
        "data": {"samples_per_task": None},
    }
    comment = (
        f"# {len(chosen)} tasks of {training_rows} rows that share words and rules, from tools/miniature/families.py.\n"
        "# Another method: adapter={method: adapters, reduction_factor: 4} output_dir=...\n"
    )
    return comment + yaml.safe_dump(values, sort_keys=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", type=int, default=24, help="how many")
    parser.add_argument("--rows", type=int, default=100, help="training rows of each")
    arguments = parser.parse_args()
    print(write(arguments.folder, arguments.tasks, arguments.rows))
