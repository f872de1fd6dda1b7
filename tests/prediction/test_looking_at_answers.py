"""Answers one by one: `eval --predictions` and `--details`, ranked labels, and what `predict` keeps of its rows."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from answering_runs import TASKS, json_lines, make_backbone, make_run, mixed_rows, predicted, run
from conftest import example_rows
from sklearn import metrics as sk

from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.tasks.registry import get_task


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, data_folder: Path) -> Path:
    backbone = make_backbone(tmp_path_factory.mktemp("backbone"), tokenizer_folder)
    return make_run(tmp_path_factory.mktemp("joint"), backbone, data_folder)


def evaluate(folder: Path, *options: object) -> dict[str, Any]:
    result = run("eval", folder, "--split", "train", "--set", "evaluation.max_examples=40", "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_answer_of_an_evaluation(trained: Path, tmp_path: Path) -> None:
    results = evaluate(trained, "--predictions", tmp_path / "answers.jsonl")
    lines = read_lines(tmp_path / "answers.jsonl")
    assert [line["task"] for line in lines] == [task for task in TASKS for _ in range(40)]
    own = [line for line in lines if line["task"] == "mrpc"]
    rows = example_rows("mrpc", 64, "train")[:40]
    task = get_task("mrpc")
    assert [line["input"] for line in own] == [task.input_text(row, False) for row in rows]
    assert [line["gold_label"] for line in own] == [task.label_names[row["label"]] for row in rows]
    assert [line["row"] for line in own] == list(range(40))
    said = {answer["id"]: answer for answer in predicted(trained, "--task", "mrpc", stdin=json_lines(rows))}
    for number, line in enumerate(own):
        answer = said[rows[number].get("id", rows[number]["idx"])]
        assert (line["prediction"], line["label"]) == (answer["prediction"], answer["label"])
        assert line["scores"] == pytest.approx(answer["scores"], abs=2e-4)
        assert line["correct"] == (line["prediction"].strip() == line["gold"])
        assert line["outside"] == (line["label"] is None)
    assert 0 < sum(line["outside"] for line in own) < 40  # else the next lines say nothing
    scores = {(s["task"], s["metric"]): s["value"] for s in results["results"]}
    assert scores["mrpc", "accuracy"] == pytest.approx(100 * sum(line["correct"] for line in own) / 40, abs=1e-3)
    [details] = [own for own in results["details"] if own["task"] == "mrpc"]
    assert details["outside"] == sum(line["outside"] for line in own)
    numbers = [line for line in lines if line["task"] == "stsb"]
    assert all("correct" not in line and "scores" not in line for line in numbers)
    assert numbers[0]["error"] == pytest.approx(abs(float(numbers[0]["prediction"]) - float(numbers[0]["gold"])))


def test_details_of_an_evaluation_are_those_of_its_answers(trained: Path, tmp_path: Path) -> None:
    results = evaluate(trained, "--predictions", tmp_path / "answers.csv", "--tasks", "mnli")
    rows = list(csv.DictReader((tmp_path / "answers.csv").open()))
    [details] = results["details"]
    names = get_task("mnli").label_names
    report = sk.classification_report(
        [row["gold_label"] for row in rows],
        [row["label"] for row in rows],
        labels=names,
        output_dict=True,
        zero_division=0,
    )
    for own in details["labels"]:
        assert own["f1"] == pytest.approx(100 * report[own["label"]]["f1-score"], abs=1e-3)
        assert own["examples"] == report[own["label"]]["support"]
    assert all(abs(sum(float(row[f"scores.{name}"]) for name in names) - 1) < 1e-3 for row in rows)
    plain = run("eval", trained, "--split", "train", "--tasks", "mnli", "--details").stdout
    assert "mnli: train, per label (%)" in plain and "gold by row, predicted by column" in plain
    assert "answers outside the labels" in plain and "no label" in plain


def test_a_file_of_predictions_is_not_overwritten_and_has_a_known_format(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("mine")
    for name, message in (("there.csv", "exists"), ("answers.xlsx", "ends in .jsonl or .csv")):
        result = run("eval", trained, "--predictions", tmp_path / name)
        assert result.exit_code == 2 and message in result.stderr
    assert (tmp_path / "there.csv").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_ranked_labels_are_the_likeliest_and_never_outside(trained: Path, tmp_path: Path) -> None:
    generated = evaluate(trained, "--predictions", tmp_path / "generated.jsonl")
    ranked = evaluate(trained, "--predictions", tmp_path / "ranked.jsonl", "--set", "evaluation.method=rank")
    assert any(own["outside"] for own in generated["details"] if own["task"] != "stsb")
    assert not any(own["outside"] for own in ranked["details"] if own["task"] != "stsb")
    before = read_lines(tmp_path / "generated.jsonl")
    for old, new in zip(before, read_lines(tmp_path / "ranked.jsonl"), strict=True):
        if new["task"] == "stsb":
            assert new == old  # numbers are generated
            continue
        assert new["scores"] == old["scores"]
        assert new["scores"][new["label"]] == max(new["scores"].values())
    stored = OpenedRun(trained).recipe.evaluation.method
    assert stored == "generate"


def test_ranks_are_those_of_the_model_run_by_hand(trained: Path) -> None:
    """Each label's log-likelihood from a plain forward pass of the backbone with the task's adapters."""
    opened = OpenedRun(trained)
    model, tokenizer, task = opened.model, opened.tokenizer, get_task("mnli")
    rows = example_rows("mnli", 64, "train")[:6]
    best = []
    for row in rows:
        inputs = tokenizer(task.input_text(row, False), return_tensors="pt")
        sums = []
        for text in task.label_texts:
            labels = tokenizer(text_target=text, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                logits = model(**inputs, labels=labels, task="mnli").logits.log_softmax(-1)
            sums.append(float(logits[0].gather(1, labels[0].unsqueeze(1)).sum()))
        best.append(task.label_texts[sums.index(max(sums))])
    overridden = OpenedRun(trained, overrides=["evaluation.method=rank"])
    from hyperformer_cli.prediction.predictor import make_predictor
    from hyperformer_cli.prediction.requests import Request

    asked = [Request(i, "mnli", task.input_text(row, False)) for i, row in enumerate(rows)]
    assert [line["prediction"] for line in make_predictor(overridden).predict(asked)] == best
    assert len(set(best)) > 1


def test_rows_keep_their_columns(trained: Path) -> None:
    rows = [{**row, "customer": f"c{i}", "note": None, "id": i} for i, row in enumerate(mixed_rows(12))]
    lines = predicted(trained, "--keep", "--id-column", "customer", stdin=json_lines(rows))
    for row, line in zip(rows, lines, strict=True):
        assert line["id"] == row["customer"] == line["customer"] and line["row.id"] == row["id"]
        assert line["note"] is None and "task" in line and "row.task" not in line
        assert line["row.label" if row["task"] != "none" else "label"] == row["label"]
    plain = predicted(trained, stdin=json_lines(rows))
    assert [set(line) & {"customer", "note", "row.label"} for line in plain] == [set()] * 12


def test_csv_out(trained: Path) -> None:
    rows = [{**row, "customer": 'a, "b"\nc'} for row in example_rows("cola", 10, "mixed")]
    result = run("predict", trained, "--task", "cola", "--keep", "--output-format", "csv", stdin=json_lines(rows))
    found = list(csv.DictReader(io.StringIO(result.stdout)))
    lines = predicted(trained, "--task", "cola", stdin=json_lines(rows))
    ours = ["id", "task", "prediction", "label", "scores.unacceptable", "scores.acceptable"]
    assert list(found[0]) == [*ours, "sentence", "row.label", "idx", "customer"]
    for row, line, given in zip(found, lines, rows, strict=True):
        assert (row["prediction"], row["label"]) == (line["prediction"], line["label"] or "")
        assert float(row["scores.acceptable"]) == line["scores"]["acceptable"]
        assert row["customer"] == given["customer"] and row["sentence"] == given["sentence"]


def test_columns_that_only_later_rows_have_are_named(trained: Path) -> None:
    rows = example_rows("cola", 6, "mixed")
    rows[-1] = {**rows[-1], "late": 1}
    options = ("--task", "cola", "--keep", "--output-format", "csv", "--batch-size", 4)
    assert "left out: late" in run("predict", trained, *options, stdin=json_lines(rows)).stderr


@pytest.mark.parametrize("task", TASKS)
def test_rows_with_a_label_are_scored(trained: Path, task: str) -> None:
    rows = example_rows(task, 40, "train")
    rows[0].pop("label")
    rows[1]["label"] = -1 if task != "stsb" else 9.0
    result = run("predict", trained, "--task", task, stdin=json_lines(rows))
    lines = [json.loads(line) for line in result.stdout.splitlines()][2:]
    own = get_task(task)
    gold = [own.target_text(row) for row in rows[2:]]
    assert f"{task}: 38 rows have a label" in result.stderr
    if task == "stsb":
        errors = [
            abs(line["value"] - float(g)) for line, g in zip(lines, gold, strict=True) if line["value"] is not None
        ]
        assert f"mean absolute error {sum(errors) / len(errors):.4g}" in result.stderr
    else:
        right = sum(line["prediction"].strip() == g for line, g in zip(lines, gold, strict=True))
        assert f"accuracy {100 * right / 38:.2f} %" in result.stderr
    unlabelled = [{key: value for key, value in row.items() if key != "label"} for row in rows]
    assert "have a label" not in run("predict", trained, "--task", task, stdin=json_lines(unlabelled)).stderr


@pytest.mark.parametrize(
    ("options", "row", "message"),
    [
        (["--id-column", "number"], {"sentence": "the cat"}, "no 'number'"),
        (["--keep"], {"sentence": "the cat", "weight": float("nan")}, "--keep: a column holds what JSON cannot"),
    ],
)
def test_rows_that_cannot_be_kept_are_bad_rows(trained: Path, options: list, row: dict, message: str) -> None:
    result = run("predict", trained, "--task", "cola", "--strict", *options, stdin=json_lines([row]))
    assert result.exit_code == 2 and message in result.stderr


def test_a_table_without_the_id_column_is_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("sentence\nthe cat\n")
    result = run("predict", trained, "--task", "cola", "--id-column", "number", tmp_path / "rows.csv")
    assert result.exit_code == 2 and "no column 'number' (--id-column)" in result.stderr


def test_numbers_in_csv_are_scored_too(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("sentence1,sentence2,label\nthe cat,a dog,3.2\nthe cat,the cat,5\n")
    assert "stsb: 2 rows have a label" in run("predict", trained, "--task", "stsb", tmp_path / "rows.csv").stderr
