"""Support tickets, generated: the data of the tutorial.   python -m tools.tickets tickets.csv [--rows 2000] [--seed 7]

Writes a CSV file as one might be handed it: the columns `id`, `customer`, `subject`, `body` and `priority`, three
classes of unequal size (about 64, 25 and 11 %), bodies of which a sentence or two matter, some tickets sent twice, and
a few faulty rows. Nothing in it was written by, or is about, a real person; the same seed writes the same file.

`python -m tools.tickets --bundled` writes the rows of `recipes/own_task.yaml` into the package, as `hyperformer init`
cleans and splits that file.
"""

import argparse
import csv
import tempfile
from pathlib import Path
from random import Random

import pyarrow as pa
from pyarrow import csv as csv_reader
from pyarrow import parquet

from hyperformer_cli.bundled import BUNDLED, data_folder
from hyperformer_cli.starting.start import Request, start

ROWS, SEED = 2000, 7

CLASSES = {"low": 0.64, "medium": 0.25, "high": 0.11}
SENT_TWICE = 0.03  # of the tickets
FAULTS = 8  # faulty rows: no priority, an empty text, a priority that is none
COLUMNS = ("id", "customer", "subject", "body", "priority")

_GREETINGS = ("Hello,", "Good morning,", "Hi there,", "Dear support,", "Hello support team,", "Good afternoon,")
_CLOSINGS = ("Thanks.", "Kind regards.", "Best wishes.", "Thank you in advance.", "All the best.", "Many thanks.")
_CONTEXT = (
    "I have been a customer for {number} years.",
    "We use the {product} in our {team} team.",
    "I am writing about the {product}.",
    "We are on the {plan} plan with {number} seats.",
    "I could not find anything about this in the documentation.",
    "My colleague in {city} told me to write to you.",
    "We installed the last update on {day}.",
    "I already looked at the help pages.",
    "Our account was opened in {city}.",
    "The {product} is set up for {number} people here.",
    "I tried it in another browser as well.",
    "We moved to the {plan} plan on {day}.",
)
_MATTERS = {
    "low": (
        "How can I change the colour of the {product}?",
        "Is there a way to rename the {product}?",
        "I would like to suggest a dark theme for the {product}.",
        "There is a spelling mistake on the page of the {product}.",
        "Could you tell me where the manual of the {product} is?",
        "It would be nice if the {product} remembered my language.",
        "What does the {plan} plan cost per year?",
    ),
    "medium": (
        "The {product} is slow since {day}.",
        "The {product} shows an error when I save.",
        "Our invoice for the {plan} plan is wrong.",
        "The export from the {product} misses some columns.",
        "{number} of our people cannot print from the {product}.",
        "The {product} sends every message twice.",
        "The password reset for the {product} arrives hours late.",
    ),
    "high": (
        "The {product} is down and all {number} of us are blocked.",
        "We lost the data of the {product}, this is urgent.",
        "Somebody from outside logged in to our {product}, please act immediately.",
        "Nobody in {city} can log in, production has stopped.",
        "Customers were charged {number} times by the {product}, stop it immediately.",
        "The {product} crashed and deleted our files, it is an emergency.",
    ),
}
_SUBJECTS = (
    "{product}",
    "About the {product}",
    "Question from {city}",
    "{plan} plan",
    "{product}, {team} team",
    "Support",
)
_WORDS = {
    "product": ("calendar", "dashboard", "inbox", "report builder", "file browser", "phone app", "web shop", "wiki"),
    "team": ("sales", "finance", "design", "research", "warehouse", "marketing"),
    "plan": ("basic", "team", "business", "school"),
    "city": ("Oslo", "Lyon", "Porto", "Graz", "Ghent", "Turin", "Malmo", "Brno"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "number": tuple(str(number) for number in range(2, 41)),
}


def tickets(count: int, seed: int) -> list[dict[str, str]]:
    """That many rows, tickets sent twice and faulty rows among them."""
    random = Random(f"tickets {seed}")
    twice, faulty = round(SENT_TWICE * count), min(FAULTS, count // 20)
    rows = [_ticket(random, number) for number in range(count - twice - faulty)]
    again = [{**row, "id": str(10_000 + count + i)} for i, row in enumerate(random.sample(rows, twice))]
    faults = [_with_a_fault(_ticket(random, count + i), i) for i in range(faulty)]
    rows += again + faults
    random.shuffle(rows)
    return rows


def _ticket(random: Random, number: int) -> dict[str, str]:
    priority = random.choices(list(CLASSES), list(CLASSES.values()))[0]
    words = {name: random.choice(values) for name, values in _WORDS.items()}
    matters = random.sample(_MATTERS[priority], random.choice((1, 1, 1, 2)))
    sentences = [*random.sample(_CONTEXT, random.randint(0, 2)), *matters]
    random.shuffle(sentences)
    body = " ".join((random.choice(_GREETINGS), *sentences, random.choice(_CLOSINGS)))
    return {
        "id": str(10_000 + number),
        "customer": f"c{random.randrange(400):03}",
        "subject": random.choice(_SUBJECTS).format(**words).capitalize(),
        "body": body.format(**words),
        "priority": priority,
    }


def _with_a_fault(row: dict[str, str], number: int) -> dict[str, str]:
    return row | ({"priority": ""}, {"subject": "", "body": ""}, {"priority": "hihg"})[number % 3]


def write_tickets(path: Path, count: int, seed: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(tickets(count, seed))


def bundled_tables() -> dict[str, pa.Table]:
    """The splits that `hyperformer init` makes of the default file, by name; only the columns that the task needs."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "tickets.csv"
        write_tickets(file, ROWS, SEED)
        request = Request(file, BUNDLED, "priority", ["subject", "body"], to=Path(scratch))
        start(request)
        text = csv_reader.ConvertOptions(column_types={"priority": pa.string()}, include_columns=COLUMNS[2:])
        folder = Path(scratch) / "tickets"
        return {path.stem: csv_reader.read_csv(path, convert_options=text) for path in sorted(folder.glob("*.csv"))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--bundled", action="store_true")
    arguments = parser.parse_args()
    if arguments.file is not None:
        write_tickets(arguments.file, arguments.rows, arguments.seed)
    if arguments.bundled:
        for split, table in bundled_tables().items():
            target = data_folder() / "tickets" / f"{split}.parquet"
            target.parent.mkdir(exist_ok=True)
            parquet.write_table(table, target, compression="zstd")
