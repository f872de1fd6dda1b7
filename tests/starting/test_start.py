"""`hyperformer init`: what it guesses, cleans, splits and writes; and that training takes what it wrote."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.schema.section import SPLITS
from hyperformer_cli.starting.start import Request, Start, start
from hyperformer_cli.training.plan import plan
from tools.tickets import tickets, write_tickets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data(folder: Path) -> Path:
    write_tickets(folder / "tickets.csv", 300, seed=3)
    return Path("tickets.csv")


def begin(data: Path, **options: object) -> Start:
    return start(Request(data, "bundled", **options))  # type: ignore[arg-type]


def written(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["init", *arguments])


def test_columns_kind_and_labels_are_guessed(data: Path) -> None:
    done = begin(data)
    assert (done.texts, done.label, done.kind) == (["subject", "body"], "priority", "labels")
    task = recipe_tasks(done.recipe)[0]
    assert task.template == "subject: {subject} body: {body}"
    assert task.labels == {"low": "0", "medium": "1", "high": "2"}  # "low" has three pieces
    assert task.label_names == ["low", "medium", "high"]
    assert task.kind == "labels" and task.metrics[0] == "accuracy"


def test_every_row_is_used_once_or_named(data: Path) -> None:
    done = begin(data)
    given = tickets(300, seed=3)
    used = [row for split in SPLITS for row in written(f"tickets/{split}.csv")]
    assert len(used) + len(done.cleaned.left_out) == len(given)
    assert {row["id"] for row in used} <= {row["id"] for row in given}
    by_line = {row.line: row.reason for row in done.cleaned.left_out}
    for line, row in enumerate(given, 2):  # the header is line 1, and no cell holds a line end
        if not row["priority"]:
            assert by_line[line] == "no priority"
        elif row["priority"] == "hihg":
            assert by_line[line] == "priority 'hihg' has fewer than 3 rows; did you mean 'high'?"
        elif not row["body"]:
            assert by_line[line] == "no text"
    copies = Counter((row["subject"], row["body"]) for row in given if row["body"])
    twice = sum("the same text" in reason for reason in by_line.values())
    assert twice == sum(count - 1 for count in copies.values()) > 5


def test_a_file_is_split_by_label_the_same_way_every_time(data: Path) -> None:
    begin(data)
    first = {split: Path(f"tickets/{split}.csv").read_bytes() for split in SPLITS}
    counts = {split: Counter(row["priority"] for row in written(f"tickets/{split}.csv")) for split in first}
    for label in ("low", "medium", "high"):
        total = sum(count[label] for count in counts.values())
        assert counts["validation"][label] == counts["test"][label] == round(total / 10)
    begin(data, force=True)
    assert first == {split: Path(f"tickets/{split}.csv").read_bytes() for split in first}
    begin(data, force=True, seed=1)
    assert first["test"] != Path("tickets/test.csv").read_bytes()


def test_a_group_is_never_in_two_splits(data: Path) -> None:
    begin(data, group="customer")
    customers = [{row["customer"] for row in written(f"tickets/{split}.csv")} for split in SPLITS]
    assert all(customers)
    assert not (customers[0] & customers[1] or customers[0] & customers[2] or customers[1] & customers[2])


def test_lengths_and_steps_fit_the_data_and_training_takes_them(data: Path) -> None:
    done = begin(data, beside=["mini_sst2"])
    recipe = load_recipe("tickets.yaml")
    assert recipe.task_names == ["tickets", "mini_sst2"]
    # Paths of files start from the recipe's folder once it is read.
    assert {**recipe.as_dict(), "tasks": []} == {**done.recipe.as_dict(), "tasks": []}
    found = plan(recipe)
    assert found["data"]["tickets"]["splits"]["train"]["cut"] == 0
    assert recipe.data.max_source_length - 16 < found["data"]["tickets"]["splits"]["train"]["lengths"]["100"]
    assert found["data"]["tickets"]["warnings"] == []
    share = found["tasks"]["tickets"]["share_of_steps"]
    assert recipe.training.max_steps * share * recipe.training.batch_size > 10 * found["tasks"]["tickets"]["train"]


@pytest.mark.parametrize("beside", [["mini_sst2"], []])
def test_several_tasks_are_mixed_in_a_batch(beside: list[str], data: Path) -> None:
    assert begin(data, beside=beside).recipe.data.sampling.mixed_batches == bool(beside)


def test_nothing_is_written_over(data: Path) -> None:
    done = begin(data)
    assert all(file.is_file() for file in done.files)
    with pytest.raises(InputError, match=r"tickets.yaml, .*: already there; choose another --name or --to, or --force"):
        begin(data)
    begin(data, name="others")
    held_out = Path("tickets/train.csv").read_bytes()
    with pytest.raises(InputError, match=r"tickets/train\.csv would be written over"):
        begin(Path("tickets/train.csv"), name="tickets", force=True)
    assert Path("tickets/train.csv").read_bytes() == held_out


def test_a_failure_leaves_nothing_behind(data: Path) -> None:
    for options in ({"beside": ["mini_sst2", "mrpc"]}, {"beside": ["mini_sst"]}, {"group": "none"}, {"name": "mrpc"}):
        with pytest.raises(InputError):
            begin(data, **options)
    assert [path.name for path in Path().iterdir()] == ["tickets.csv"]


@pytest.mark.parametrize(
    ("delimiter", "encoding", "said"),
    [
        (";", "utf-8", "semicolons, UTF-8"),
        ("\t", "utf-8-sig", "tabs, UTF-8"),
        ("|", "utf-16", "bars, UTF-16"),
        (",", "cp1252", "commas, not UTF-8, read as Windows-1252"),
    ],
)
def test_dialects_of_csv_are_read_and_written_in_one(folder: Path, delimiter: str, encoding: str, said: str) -> None:
    rows = [{"text": f'Café no. {i}, "quoted";\nand | on', "label": "ab"[i % 2]} for i in range(40)]
    with Path("data.csv").open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, ["text", "label"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    done = begin(Path("data.csv"))
    assert done.sheets[0].dialect == said
    task = recipe_tasks(done.recipe)[0]
    read = [row for split in SPLITS for row in load_rows(task, split, "hub").table.to_pylist()]
    assert sorted(row["text"] for row in read) == sorted(row["text"] for row in rows)


def test_lines_that_are_no_rows_are_named(folder: Path) -> None:
    lines = [f"a sentence of number {i},{'ab'[i % 2]}" for i in range(30)]
    lines[4], lines[9] = "too, many, cells, a", 'an "open quote" here,a'
    lines[12] = '"closed" too early,b'
    Path("data.csv").write_text("\n".join(["text,label", *lines]))
    faults = {row.line: row.reason for row in begin(Path("data.csv")).cleaned.left_out}
    assert faults[6] == "has 4 cells where the header has 2"
    assert faults[14].startswith("not valid CSV")
    assert set(faults) == {6, 14}


def test_json_lines_and_parquet_are_read_and_nested_columns_dropped(folder: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"text": f"a sentence of number {i}", "label": i % 3, "tags": ["x"], "odd": i % 2 == 1} for i in range(60)]
    Path("data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    parquet.write_table(pa.Table.from_pylist(rows), "rows.parquet")
    for path in ("data.jsonl", "rows.parquet"):
        done = begin(Path(path), label="label", texts=["text"])
        assert list(done.labels) and sorted(done.labels) == ["0", "1", "2"]
        assert "without tags" in done.sheets[0].dialect
        task = recipe_tasks(done.recipe)[0]
        assert task.labels == ["0", "1", "2"]
        assert load_rows(task, "train", "hub").table.num_rows == 48
    assert [str(fault) for fault in begin(Path("data.jsonl"), label="label", force=True).cleaned.left_out] == [
        "data.jsonl:61: not valid JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"
    ]


def test_numbers_get_a_range_and_free_texts_a_length(folder: Path) -> None:
    with Path("stars.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["review", "stars"], *([f"good film number {i}", f"{i % 41 / 10:.1f}"] for i in range(200))]
        )
    task = recipe_tasks(begin(Path("stars.csv"), label="stars").recipe)[0]
    assert (task.kind, task.range, task.metrics) == ("numbers", [0.0, 4.0], ["pearson", "spearmanr"])
    with Path("news.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["article", "headline"], *([f"what happened on day {i}", f"day {i} came"] for i in range(90))]
        )
    task = recipe_tasks(begin(Path("news.csv"), label="headline").recipe)[0]
    assert (task.kind, task.target, task.metrics) == ("text", "{headline}", ["bleu"])
    assert task.max_target_length == 16


def test_a_folder_of_splits_stays_split(folder: Path) -> None:
    Path("mine").mkdir()
    for split, count in (("train", 40), ("dev", 20), ("test", 20)):
        lines = [f"{split} sentence of number {i},{'ab'[i % 2]}" for i in range(count)]
        Path(f"mine/{split}.csv").write_text("\n".join(["text,label", *lines, "no label here,"]))
    done = begin(Path("mine"), name="copy")
    assert {split: found.rows for split, found in done.report.splits.items()} == {
        "train": 40,
        "validation": 20,
        "test": 20,
    }
    assert [fault.line for fault in done.cleaned.left_out] == [42, 22, 22]
    with pytest.raises(InputError, match=r"mine/train\.csv would be written over"):
        begin(Path("mine"))


def test_spellings_and_names_that_no_template_can_hold_are_put_right(folder: Path) -> None:
    lines = [f"a sentence of number {i},{('Yes', 'no')[i % 2] if i else 'YES'}" for i in range(40)]
    Path("data.csv").write_text("\n".join(["text.body,is it?", *lines]))
    done = begin(Path("data.csv"), label="is it?")
    assert done.cleaned.respelled == {"YES": "Yes"} and done.renamed == {"text.body": "text_body"}
    task = recipe_tasks(done.recipe)[0]
    assert task.label_values == ("Yes", "no") and task.label_column == "is it?" and task.metrics == ["accuracy", "f1"]
    assert load_rows(task, "train", "hub").table.column_names == ["text_body", "is it?"]


def test_mistakes_end_with_what_to_do(data: Path) -> None:
    cases = {
        ("tickets.csv", "--label", "prio"): "--label: no column 'prio'; did you mean 'priority'?",
        ("tickets.csv", "--text", "subject,bodi"): "--text: no column 'bodi'; did you mean 'body'?",
        ("tickets.csv", "--text", "priority", "--label", "priority"): "column 'priority' is the one to be predicted",
        ("none.csv",): "none.csv: cannot be read: No such file or directory",
        ("tickets.xlsx",): "save the spreadsheet as CSV first",
        ("tickets.csv", "--with", "mini_sst2,mrpc"): "mini_sst2 is bundled and mrpc on the hub",
        ("tickets.csv", "--model", "nobody/nothing"): "to try it without one, --model bundled",
        ("tickets.csv", "--label", "id"): "column 'id' has fewer than two labels with 3 rows or more",
    }
    for arguments, message in cases.items():
        options = () if "--model" in arguments else ("--model", "bundled")
        kind = ("--kind", "labels") if "id" in arguments else ()
        result = command(*arguments, *options, *kind)
        assert result.exit_code == 2, arguments
        assert message in result.output.replace("\n", " "), result.output
    assert [path.name for path in Path().iterdir()] == ["tickets.csv"]


def test_the_screen_names_rows_files_and_the_next_command(data: Path) -> None:
    result = command("tickets.csv", "--model", "bundled", "--with", "mini_sst2")
    assert result.exit_code == 0, result.output
    for part in (
        "300 rows, 5 columns (commas, UTF-8)",
        "no priority",
        "tickets/test.csv",
        "hyperformer train tickets.yaml",
    ):
        assert part in result.stdout
    described = json.loads(command("tickets.csv", "--model", "bundled", "--json", "--force").stdout)
    assert described["files"][0] == "tickets.yaml" and described["label"] == "priority"
    assert len(described["left_out"]) == sum(described["labels"].values()) * -1 + 300


def test_a_column_that_ends_like_a_label_is_predicted(folder: Path) -> None:
    lines = [f"shop{i % 4};a long review of number {i};{('good', 'bad', 'so so')[i % 3]}" for i in range(60)]
    Path("reviews.csv").write_text("\n".join(["store;review text;Sentiment class", *lines]))
    done = begin(Path("reviews.csv"))
    assert (done.label, done.texts, done.renamed) == ("Sentiment class", ["review text"], {})
    assert recipe_tasks(done.recipe)[0].template == "{review text}"
    with pytest.raises(InputError, match=r"--label: say which column.*: store \(4 values\), Sentiment kind"):
        Path("other.csv").write_text("\n".join(["store;review text;Sentiment kind", *lines]))
        begin(Path("other.csv"))


def test_copies_with_another_label_are_shown_before_plain_ones(folder: Path) -> None:
    rows = [(f"a sentence of number {i}", "ab"[i % 2]) for i in range(40)]
    rows += [*rows[:12], (rows[0][0], "b")]
    Path("data.csv").write_text("\n".join(["text,label", *(",".join(row) for row in rows)]))
    shown = command("data.csv", "--model", "bundled")
    assert "data.csv:54: the same text as line 2, but with another label ('b', there 'a')" in shown.stdout
    assert "and 3 more" in shown.stdout
