"""The tutorial's tickets: what the package holds is what the generator and `hyperformer init` make of it."""

from collections import Counter
from pathlib import Path

from pyarrow import parquet
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from hyperformer_cli.bundled import data_folder
from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.training.plan import plan
from tools.tickets import ROWS, SEED, bundled_tables, tickets, write_tickets

SPLITS = ("train", "validation", "test")


def rows(split: str) -> list[dict[str, str]]:
    return parquet.read_table(data_folder() / "tickets" / f"{split}.parquet").to_pylist()


def test_the_package_holds_what_the_generator_makes() -> None:
    made = bundled_tables()
    assert set(made) == set(SPLITS)
    for split in SPLITS:
        assert rows(split) == made[split].to_pylist()


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        write_tickets(tmp_path / name, 100, SEED)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert tickets(100, SEED) != tickets(100, SEED + 1)


def test_classes_copies_and_faults_are_as_described() -> None:
    made = tickets(ROWS, SEED)
    counts = Counter(row["priority"] for row in made)
    assert len(made) == ROWS and counts["low"] > 1.5 * counts["medium"] > 2.5 * counts["high"] > 300
    assert counts[""] == 3 and counts["hihg"] == 2
    used = [row for split in SPLITS for row in rows(split)]
    assert len({(row["subject"], row["body"]) for row in used}) == len(used) < ROWS - 60


def test_a_bag_of_words_tells_the_classes_apart() -> None:
    train, test = rows("train"), rows("test")
    words = TfidfVectorizer()
    texts = [[f"{row['subject']} {row['body']}" for row in part] for part in (train, test)]
    model = LogisticRegression(max_iter=1000).fit(words.fit_transform(texts[0]), [row["priority"] for row in train])
    assert model.score(words.transform(texts[1]), [row["priority"] for row in test]) > 0.97


def test_the_tutorial_warns_of_nothing() -> None:
    found = plan(load_recipe("own_task"))
    assert [warning for report in found["data"].values() for warning in report["warnings"]] == []
    assert found["data"]["tickets"]["splits"]["train"]["rows"] == len(rows("train"))
