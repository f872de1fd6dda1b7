"""`hyperformer predict` on a trained run: what it says, in which order, beside what `eval` says."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from answering_runs import TASKS, json_lines, make_backbone, make_run, mixed_rows, predicted, run
from conftest import example_rows

from hyperformer_cli import AdaptedModel
from hyperformer_cli.data.metrics import score
from hyperformer_cli.prediction.predictor import Predictor, make_predictor
from hyperformer_cli.prediction.requests import Request
from hyperformer_cli.prediction.rows import RowStream
from hyperformer_cli.prediction.stream import predict_stream
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.tasks.registry import get_task


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, data_folder: Path) -> Callable[..., Path]:
    backbone = make_backbone(tmp_path_factory.mktemp("backbone"), tokenizer_folder)
    return lambda name, *options, **changes: make_run(
        tmp_path_factory.mktemp(name), backbone, data_folder, *options, **changes
    )


@pytest.fixture(scope="module")
def joint(train: Callable[..., Path]) -> Path:
    return train("joint")


def evaluated(folder: Path, task: str) -> dict[str, float]:
    result = run("eval", folder, "--tasks", task, "--split", "train", "--set", "evaluation.max_examples=null", "--json")
    return {score["metric"]: score["value"] for score in json.loads(result.stdout)["results"]}


def scored(task: str, predictions: list[dict[str, Any]]) -> dict[str, float]:
    """The metrics of predictions of the training rows."""
    texts = [line["prediction"] for line in predictions]
    assert len(set(texts)) > 1  # else their order would not matter
    return score(get_task(task), texts, [get_task(task).target_text(row) for row in example_rows(task, 64, "train")])


@pytest.mark.parametrize(("task", "suffix"), [("cola", None), ("mrpc", "jsonl"), ("stsb", "csv"), ("mnli", "tsv")])
def test_predictions_score_what_eval_says(joint: Path, data_folder: Path, task: str, suffix: str | None) -> None:
    if suffix is None:
        found = predicted(joint, "--task", task, stdin=json_lines(example_rows(task, 64, "train")))
    else:
        found = predicted(joint, "--task", task, data_folder / task / f"train.{suffix}")
        assert [line["id"] for line in found] == [i if suffix == "jsonl" else str(i) for i in range(64)]
    assert scored(task, found) == pytest.approx(evaluated(joint, task), abs=1e-3)


def test_what_a_line_says(joint: Path) -> None:
    rows = mixed_rows(12)
    found = predicted(joint, stdin=json_lines(rows))
    assert [(line["id"], line["task"]) for line in found] == [(row["id"], row["task"]) for row in rows]
    for line in found:
        if line["task"] == "stsb":
            value = get_task("stsb").parse_prediction(line["prediction"])
            assert line == {**line, "label": None, "value": value} and "scores" not in line
            continue
        task = get_task(line["task"])
        assert list(line) == ["id", "task", "prediction", "label", "scores"]
        assert list(line["scores"]) == task.label_names
        assert sum(line["scores"].values()) == pytest.approx(1, abs=3 * 5e-5)  # four decimals each
        if line["label"] is not None:
            assert line["label"] == task.label_names[int(line["prediction"])]
    assert {line["label"] is None for line in found} == {True, False}
    assert any(line.get("value") is not None for line in found)
    without = predicted(joint, "--no-scores", stdin=json_lines(rows))
    assert without == [{key: value for key, value in line.items() if key != "scores"} for line in found]


def test_weights_that_are_not_finite_are_refused(joint: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(joint, tmp_path / "run")
    model = AdaptedModel.from_pretrained(damaged / "best")
    with torch.no_grad():
        model.bank.task_embedding[0, 0] = float("nan")
    model.save_pretrained(damaged / "best")
    result = run("predict", damaged, stdin=json_lines(mixed_rows(2)))
    assert result.exit_code == 2 and "bank.task_embedding is not finite" in result.stderr and not result.stdout


def test_mixed_batches_say_what_each_task_says_alone(joint: Path) -> None:
    rows = mixed_rows(150)
    mixed = predicted(joint, "--batch-size", 4, stdin=json_lines(rows))
    assert [line["id"] for line in mixed] == [row["id"] for row in rows]
    for task in TASKS:
        own = [row for row in rows if row["task"] == task]
        alone = predicted(joint, "--task", task, "--batch-size", 1, stdin=json_lines(own))
        assert_same(alone, [line for line in mixed if line["task"] == task])


@pytest.mark.parametrize("beams", [1, 3])
def test_what_else_is_in_the_stream_lengthens_no_answer(joint: Path, beams: int) -> None:
    run = OpenedRun(joint)
    whole = make_predictor(run)
    tokenizer = whole.answering.tokenization.tokenizer
    words = [piece.removeprefix("▁") for piece in sorted(tokenizer.get_vocab()) if piece.startswith("▁")]
    short = [word for word in words if len(tokenizer(word)["input_ids"]) == 2][:2]  # a piece and the end of sequence
    tasks = {
        **run.tasks,
        "cola": get_task("cola").model_copy(update={"labels": short}),
    }  # the other tasks' labels may have more pieces
    settings = run.recipe.evaluation.model_copy(update={"num_beams": beams})
    predictor = Predictor(replace(whole.answering, tasks=tasks, settings=settings))
    requests = [
        Request(i, row["task"], tasks[row["task"]].input_text(row, False)) for i, row in enumerate(mixed_rows(24))
    ]
    mixed = predictor.predict(requests)
    assert_same([predictor.predict([request])[0] for request in requests], mixed)
    answers = {line["prediction"].strip() for line in mixed if line["task"] == "cola"}
    assert "0." in answers and "0.5" not in answers  # which has three pieces


def test_long_label_texts_are_scored_whole(joint: Path) -> None:
    run = OpenedRun(joint)
    answering, labels = make_predictor(run).answering, ["the old cat sees", "the old cat finds"]
    short = replace(answering.tokenization, max_target_length=3)
    scores = []
    for tokenization, limit in ((answering.tokenization, None), (short, 20)):
        tasks = {
            **run.tasks,
            "cola": get_task("cola").model_copy(update={"labels": labels, "max_target_length": limit}),
        }
        whole = Predictor(replace(answering, tasks=tasks, tokenization=tokenization))
        scores.append(whole.predict([Request(0, "cola", "sentence: the cat sees")])[0]["scores"])
    assert scores[0] == scores[1] and len(set(scores[0].values())) == 2


def assert_same(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """Up to what another batch does to the last digits."""
    for one, other in zip(some, others, strict=True):
        assert one.pop("scores", {}) == pytest.approx(other.get("scores", {}), abs=1e-4)
        assert one == {key: value for key, value in other.items() if key != "scores"}


def test_formats_are_read_alike(joint: Path, tmp_path: Path) -> None:
    rows = [{key: row[key] for key in ("sentence1", "sentence2", "idx")} for row in example_rows("mrpc", 9, "x")]
    expected = predicted(joint, "--task", "mrpc", stdin=json_lines(rows))
    assert [line["id"] for line in expected] == list(range(9))
    for line in expected:
        line["id"] = str(line["id"])  # a table has no numbers
    for suffix, delimiter in (("csv", ","), ("tsv", "\t")):
        table = "\n".join(delimiter.join(map(str, cells)) for cells in (rows[0], *(row.values() for row in rows)))
        (tmp_path / f"rows.{suffix}").write_text(table)
        assert predicted(joint, tmp_path / f"rows.{suffix}", "--task", "mrpc") == expected
        assert predicted(joint, "-", "--input-format", suffix, "--task", "mrpc", stdin=table.encode()) == expected
    texts = [{"text": get_task("mrpc").input_text(row, False), "id": str(row["idx"])} for row in rows]
    assert predicted(joint, "--task", "mrpc", stdin=json_lines(texts)) == expected


def test_bad_rows_are_reported_and_skipped(joint: Path) -> None:
    good = json_lines(example_rows("cola", 3, "x"))
    first, *rest = good.splitlines(keepends=True)
    lines = b"".join([first, b"{\n", b'{"sentence": null}\n', b"\n", b'{"sentence": "\xff"}\n', *rest])
    result = run("predict", joint, "--task", "cola", stdin=lines)
    assert result.exit_code == 0 and len(result.stdout.splitlines()) == 3
    assert [line.split(": ")[1] for line in result.stderr.splitlines() if line.startswith("stdin")] == [
        "line 2",
        "line 3",
        "line 5",
        "3 of 6 rows skipped",
    ]
    strict = run("predict", joint, "--task", "cola", "--strict", stdin=lines)
    assert strict.exit_code == 2 and strict.stdout == result.stdout.splitlines(keepends=True)[0]
    assert "error: stdin: line 2: not valid JSON" in strict.stderr
    hopeless = run("predict", joint, stdin=lines)
    assert hopeless.exit_code == 2 and hopeless.stdout == "" and "any of its 6 rows" in hopeless.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "parts"),
    [
        (["--task", "mrcp"], b"{}", ["'mrpc'"]),
        (["--task", "cola"], b"", ["stdin: has no rows"]),
        (["--task", "cola", "--input-format", "csv"], b"", ["stdin: is empty"]),
        (["--task", "cola", "--input-format", "csv"], b"sentence\n", ["stdin: has no rows"]),
        (["--task", "cola", "--input-format", "tsv"], b"a\tb\n1\t2\n", ["no column 'sentence'", "found: a, b"]),
        (["--input-format", "csv"], b"sentence\nx\n", ["no column 'task'", "--task"]),
        (["--input-format", "cvs"], b"", ["'csv'"]),
        (["--batch-size", "0"], b"", ["batch-size"]),
        (["/nowhere.csv"], None, ["/nowhere.csv", "No such file"]),
        (["/"], None, ["--input-format"]),
        (["/", "--input-format", "csv"], None, ["cannot be read", "directory"]),
    ],
)  # fmt: skip
def test_mistakes_end_with_a_short_message(
    joint: Path, arguments: list[str], stdin: bytes | None, parts: list[str]
) -> None:
    result = run("predict", joint, *arguments, stdin=stdin)
    assert result.exit_code == 2 and result.stdout == "" and len(result.stderr.splitlines()) < 20, result.output
    for part in parts:
        assert part in result.stderr


def test_folders_that_are_no_runs(joint: Path, tmp_path: Path) -> None:
    assert "not a run folder" in run("predict", tmp_path, stdin=b"{}").stderr
    shutil.copy(joint / "recipe.yaml", tmp_path)
    result = run("predict", tmp_path, stdin=b"{}")
    assert result.exit_code == 2 and "no best/ weights yet; the run has not been evaluated" in result.stderr


def test_an_export_predicts_as_its_run(joint: Path, tmp_path: Path) -> None:
    """Any folder with a recipe that holds the model itself."""
    shutil.copytree(joint / "best", tmp_path / "export")
    shutil.copy(joint / "recipe.yaml", tmp_path / "export")
    lines = json_lines(mixed_rows(8))
    assert predicted(tmp_path / "export", stdin=lines) == predicted(joint, stdin=lines)


def test_tasks_trained_each_alone(train: Callable[..., Path]) -> None:
    """One model per task; what one says is what its own folder says, which needs no --task."""
    folder = train("alone", "adapters", ["cola", "stsb"], joint=False)
    rows = [row for row in mixed_rows(40) if row["task"] in ("cola", "stsb")]
    mixed = predicted(folder, stdin=json_lines(rows))
    assert [line["id"] for line in mixed] == [row["id"] for row in rows]
    for task in ("cola", "stsb"):
        own = [{key: value for key, value in row.items() if key != "task"} for row in rows if row["task"] == task]
        alone = predicted(folder / "cells" / f"task={task}", stdin=json_lines(own))
        assert_same(alone, [line for line in mixed if line["task"] == task])


def test_fine_tuned_models_get_their_prefix(train: Callable[..., Path]) -> None:
    folder = train("whole", "finetune", ["cola", "mrpc"])
    rows = example_rows("cola", 64, "train")
    found = predicted(folder, "--task", "cola", stdin=json_lines(rows))
    assert scored("cola", found) == pytest.approx(evaluated(folder, "cola"), abs=1e-3)
    for with_prefix, same in ((False, True), (True, False)):
        ready = [{"text": get_task("cola").input_text(row, with_prefix)} for row in rows]
        assert (predicted(folder, "--task", "cola", stdin=json_lines(ready)) == found) is same


def test_only_a_window_is_read_ahead(joint: Path) -> None:
    read_lines = 0

    class Endless:
        def __iter__(self) -> Iterator[bytes]:
            nonlocal read_lines
            for row in iter(lambda: example_rows("cola", 1, "x")[0], None):
                read_lines += 1
                yield json_lines([row])

    trained = OpenedRun(joint, overrides=["evaluation.batch_size=2"])
    windows = predict_stream(trained, RowStream(Endless(), "rows", "jsonl"), "cola")
    for expected in (2, 34, 66):
        next(windows)
        assert read_lines == expected


@pytest.mark.slow
def test_a_closed_pipe_leaves_no_traceback(joint: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hyperformer_cli", "predict", str(joint), "--task", "cola"]
    row = json_lines(example_rows("cola", 1, "x"))
    writes_on = tmp_path / "fifo"
    os.mkfifo(writes_on)
    process = subprocess.Popen(
        [*command, str(writes_on), "--input-format", "jsonl", "--batch-size", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with writes_on.open("wb", buffering=0) as file:
        file.write(row)
        assert json.loads(process.stdout.readline())["id"] == 0  # before the stream has ended
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            file.write(row * 16)
    assert (process.wait(60), process.stderr.read()) == (141, b"")


@pytest.mark.slow
def test_an_interrupt_leaves_no_traceback(joint: Path) -> None:
    command = [sys.executable, "-m", "hyperformer_cli", "predict", str(joint), "--task", "cola"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    process.stdin.write(json_lines(example_rows("cola", 4, "x")))
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    finally:
        process.kill()
    assert (process.poll(), process.stderr.read()) == (130, b"interrupted\n")
