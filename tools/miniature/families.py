"""Many small tasks that share words and rules:   python -m tools.miniature.families FOLDER --tasks 24 --rows 100

Every task asks one yes-or-no question about generated sentences. The questions are built from twelve properties of a
clause, such as whether it is negated or whether its subject is plural: a property itself, whether two sentences share
it, whether two properties hold at once, whether at least one does. Tasks of 6 are among those of 24, and these among
those of 96. Training and validation rows use the words of `lexicon.TRAINING`, test rows those of `lexicon.HELD_OUT`.

Writes `FOLDER/data/<task>/<split>.parquet` and `FOLDER/families_<tasks>.yaml`, a recipe that extends `mini/hyperpp`.
The same arguments write the same rows.

`--few-shot` keeps two properties out of training and writes `FOLDER/families_fewshot.yaml` in place of it: training on
the first 24 tasks without those about either property, and as targets two tasks whose properties were trained on, in
other combinations, and two tasks about the properties kept out.
"""

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

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
STEPS_PER_TASK = 50  # of 32 examples: 16 passes over 100 rows

KEPT_OUT = ("passive", "object_animal")  # properties that no task of the few-shot recipe's training asks about
# Targets, and the trained task that each is most like; those about a property kept out are like none.
SHARED_SKILLS = {"negated_and_past": "negated", "subject_plural_or_fronted": "subject_plural"}
OTHER_SKILLS = {"passive": "negated", "object_animal": "subject_plural"}


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
    every = questions_available()
    if not 1 <= count <= len(every):
        raise ValueError(f"there are 1 to {len(every)} tasks")
    return every[:count]


def questions_available() -> list[Question]:
    """Every task there is."""
    alone = [Question(name, 1, holds) for name, holds in PROPERTIES.items()]
    same = [Question(f"same_{name}", 2, _same(holds)) for name, holds in PROPERTIES.items()]
    pairs = [pair for pair in itertools.combinations(PROPERTIES, 2) if pair not in _IMPOSSIBLE]
    both = [Question(f"{one}_and_{other}", 1, _both(one, other)) for one, other in pairs]
    either = [Question(f"{one}_or_{other}", 1, _either(one, other)) for one, other in pairs]
    return [*alone, *same, *both, *either]


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
    _write_data(folder, chosen, training_rows)
    comment = (
        f"# {tasks} tasks of {training_rows} rows that share words and rules, from tools/miniature/families.py.\n"
        "# Another method: adapter={method: adapters, reduction_factor: 4} output_dir=...\n"
    )
    return _write_recipe(folder / f"families_{tasks}.yaml", comment, chosen, {})


def write_few_shot(folder: Path, training_rows: int) -> Path:
    """Writes the data and the recipe of a few-shot transfer from 20 tasks to four; returns the recipe's path."""
    everything = {question.name: question for question in questions_available()}
    trained = [question for question in questions(24) if not any(name in question.name for name in KEPT_OUT)]
    similar = SHARED_SKILLS | OTHER_SKILLS
    _write_data(folder, [*trained, *(everything[name] for name in similar)], training_rows)
    comment = (
        f"# {len(trained)} tasks, and a transfer to {', '.join(SHARED_SKILLS)}, which ask about properties that were\n"
        f"# trained on, and to {', '.join(OTHER_SKILLS)}, which do not. From tools/miniature/families.py.\n"
    )
    transfer = {
        "target_tasks": [{**_task(everything[name]), "similar_to": like} for name, like in similar.items()],
        "sizes": [16, 100],
        "seeds": [1, 2, 3, 4, 5],
        "max_steps": 100,
        "batch_size": 32,
        "learning_rate": 3e-4,
    }
    return _write_recipe(folder / "families_fewshot.yaml", comment, trained, {"fewshot": transfer, "sweep": None})


def _write_data(folder: Path, chosen: Sequence[Question], training_rows: int) -> None:
    for question in chosen:
        for split, count in {"train": training_rows, **EVALUATED}.items():
            path = folder / "data" / question.name / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(pa.Table.from_pylist(rows(question, split, count)), path)


def _task(question: Question) -> dict[str, Any]:
    return {
        "name": question.name,
        "files": {split: f"data/{question.name}/{split}.parquet" for split in ("train", *EVALUATED)},
        "template": question.template,
        "prefix": question.name.replace("_", " "),  # the nano models' tokenizer knows no underscore
        "labels": list(LABELS),
        "label_names": ["no", "yes"],
    }


def _write_recipe(path: Path, comment: str, trained: Sequence[Question], more: dict[str, Any]) -> Path:
    steps = STEPS_PER_TASK * len(trained)
    values = {
        "extends": "mini/hyperpp",
        "name": path.stem,
        "paper": None,
        "tasks": [_task(question) for question in trained],
        "data": {"samples_per_task": None, "sampling": {"mixed_batches": True}},
        "training": {"max_steps": steps, "save_every": steps},
        "evaluation": {"every": steps},
        **more,
    }
    path.write_text(comment + yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", type=int, help="how many; 24 by default")
    parser.add_argument("--rows", type=int, default=100, help="training rows of each")
    parser.add_argument("--few-shot", action="store_true", help="a transfer to new tasks")
    options = parser.parse_args()
    if options.few_shot and options.tasks is not None:
        parser.error("--few-shot trains on 20 tasks; leave --tasks out")
    if options.few_shot:
        print(write_few_shot(options.folder, options.rows))
    else:
        print(write(options.folder, options.tasks or 24, options.rows))
