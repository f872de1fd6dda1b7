"""Rows from files in four formats, faults by name, and the cache of token ids."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import example_rows
from pyarrow import parquet
from transformers import AutoTokenizer

from hyperformer_cli.backbones.layouts import EncoderDecoderLayout
from hyperformer_cli.data.encoding import TwoSequences
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.data.sources import Rows, load_rows
from hyperformer_cli.data.tokenization import Tokenization, TokenizedSplit, cache_folder
from hyperformer_cli.errors import InputError
from hyperformer_cli.tasks.registry import get_task


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path):
    return AutoTokenizer.from_pretrained(tokenizer_folder)


@pytest.fixture
def tokenization(tokenizer) -> Tokenization:
    return Tokenization(TwoSequences(tokenizer), max_source_length=32, max_target_length=8, task_prefix=False)


def rows_of(task: str, source: Path | str) -> Rows:
    return load_rows(get_task(task), "train", str(source))


def tokenized(tokenization: Tokenization, task: str, source: Path | str) -> TokenizedSplit:
    return tokenization.apply(get_task(task), rows_of(task, source))


@pytest.mark.parametrize("task", ["cola", "mrpc", "stsb", "mnli"])
def test_every_format_gives_the_same_rows(task: str, data_folder: Path) -> None:
    rows = rows_of(task, data_folder)
    expected = example_rows(task, 64, "train")
    if task == "mnli":  # in a table the labels are text
        expected = [{**row, "label": str(row["label"])} for row in expected]
    assert rows.table.to_pylist() == expected


@pytest.mark.parametrize("task", ["cola", "stsb"])
def test_tokens_are_the_tokenizers(task: str, data_folder: Path, tokenizer, tokenization: Tokenization) -> None:
    split = tokenized(tokenization, task, data_folder)
    for i, row in enumerate(example_rows(task, 64, "train")):
        text = get_task(task).input_text(row, False)
        assert split.input_ids(i).tolist() == tokenizer(text, truncation=True, max_length=32)["input_ids"]
        assert tokenizer.decode(split.target_ids(i), skip_special_tokens=True) == get_task(task).target_text(row)
        assert split.target_ids(i)[-1] == tokenizer.eos_token_id
    chosen = split.select([5, 3, 3])
    assert chosen.select([1]).input_ids(0).tolist() == split.input_ids(3).tolist()
    assert chosen.targets() == [split.targets()[i] for i in (5, 3, 3)]
    assert chosen.input_lengths().tolist() == [len(split.input_ids(i)) for i in (5, 3, 3)]


def test_inputs_are_cut_at_the_maximal_length(data_folder: Path, tokenization: Tokenization) -> None:
    split = tokenized(replace(tokenization, max_source_length=5), "mrpc", data_folder)
    assert split.input_lengths().max() == 5


def test_the_cache_knows_content_not_names(
    data_folder: Path, tmp_path: Path, tokenization: Tokenization, monkeypatch
) -> None:
    monkeypatch.setenv("HYPERFORMER_CACHE", str(tmp_path / "cache"))
    shutil.copytree(data_folder / "cola", tmp_path / "cola")
    first = tokenized(tokenization, "cola", data_folder)
    calls = []
    monkeypatch.setattr(Tokenization, "_tokenize", lambda *a, f=Tokenization._tokenize: calls.append(1) or f(*a))
    again = tokenized(tokenization, "cola", tmp_path)
    assert not calls and np.array_equal(first.input_ids(7), again.input_ids(7))

    changed = example_rows("cola", 63, "train")
    parquet.write_table(pa.Table.from_pylist(changed), tmp_path / "cola" / "train.parquet")
    assert len(tokenized(tokenization, "cola", tmp_path)) == 63
    tokenized(replace(tokenization, task_prefix=True), "cola", tmp_path)
    tokenized(replace(tokenization, max_source_length=9), "cola", tmp_path)
    assert len(calls) == 3 == len(list(cache_folder().iterdir())) - 1


def test_collation_pads_and_masks(data_folder: Path, tokenizer, tokenization: Tokenization) -> None:
    splits = [tokenized(tokenization, t, data_folder) for t in ("cola", "mrpc")]
    examples = [(0, 3), (1, 5), (0, 0)]
    inputs, targets = ([getattr(splits[task], ids)(i) for task, i in examples] for ids in ("input_ids", "target_ids"))
    batch = EncoderDecoderLayout().training_batch(inputs, targets, tokenizer.pad_token_id)
    for row, (task, i) in enumerate(examples):
        length = int(batch["attention_mask"][row].sum())
        assert batch["input_ids"][row, :length].tolist() == splits[task].input_ids(i).tolist()
        assert (batch["input_ids"][row, length:] == tokenizer.pad_token_id).all()
        kept = batch["labels"][row] != -100
        assert batch["labels"][row][kept].tolist() == splits[task].target_ids(i).tolist()


def test_decoding_is_as_long_as_the_longest_target(tokenizer) -> None:
    longest = longest_target([get_task("cola"), get_task("stsb")], TwoSequences(tokenizer))
    for name in longest:
        texts = list(get_task(name).possible_targets())
        assert longest[name] == max(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)


def broken(tmp_path: Path, rows: list[dict]) -> str:
    (tmp_path / "cola").mkdir(exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "cola" / "train.parquet")
    return str(tmp_path)


def test_faults_of_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nor a folder"):
        rows_of("cola", tmp_path / "nowhere")
    (tmp_path / "colla").mkdir()
    with pytest.raises(InputError, match=r"no folder 'cola'.*did you mean 'colla'"):
        rows_of("cola", tmp_path)
    (tmp_path / "cola").mkdir()
    (tmp_path / "cola" / "dev.tsv").write_text("x")
    with pytest.raises(InputError, match=r"no train\.parquet.*found: dev\.tsv"):
        rows_of("cola", tmp_path)
    (tmp_path / "cola" / "train.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(InputError, match=r"train\.parquet: cannot be read"):
        rows_of("cola", tmp_path)
    (tmp_path / "cola" / "train.parquet").unlink()
    (tmp_path / "cola" / "train.csv").write_bytes(b"sentence,label\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="UTF"):
        rows_of("cola", tmp_path)
    (tmp_path / "cola" / "train.csv").write_text("sentence,label\n007,1\n")
    assert rows_of("cola", tmp_path).table["sentence"].to_pylist() == ["007"]


def test_tsv_knows_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "cola").mkdir()
    lines = ["sentence\tlabel", '"unclosed quote\t1', 'He said "no".\t0', '"all"\t1']
    (tmp_path / "cola" / "train.tsv").write_text("\n".join(lines) + "\n")
    found = rows_of("cola", tmp_path).table["sentence"].to_pylist()
    assert found == ['"unclosed quote', 'He said "no".', '"all"']


def test_a_damaged_cache_file_is_written_again(
    data_folder: Path, tokenization: Tokenization, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("HYPERFORMER_CACHE", str(tmp_path))
    rows = rows_of("cola", data_folder)
    expected = tokenization.apply(get_task("cola"), rows).targets()
    cached = next(cache_folder().iterdir())
    cached.write_bytes(cached.read_bytes()[:100])
    assert tokenization.apply(get_task("cola"), rows).targets() == expected
    monkeypatch.setenv("HYPERFORMER_CACHE", str(cached))  # a file, where no folder can be made
    with pytest.raises(InputError, match="HYPERFORMER_CACHE"):
        tokenization.apply(get_task("cola"), rows)


def _zeroed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(64) + content[middle + 64 :]


def _one_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


def _bit_of_the_checksum(content: bytes) -> bytes:
    return content[:40] + bytes([content[40] ^ 1]) + content[41:]


@pytest.mark.parametrize("damage", [_zeroed, _one_bit, _bit_of_the_checksum, lambda content: b""])
def test_changed_ids_in_the_cache_are_noticed(
    damage: Callable[[bytes], bytes],
    data_folder: Path,
    tokenization: Tokenization,
    tmp_path: Path,
    monkeypatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HYPERFORMER_CACHE", str(tmp_path))
    task, rows = get_task("cola"), rows_of("cola", data_folder)
    expected = tokenization.apply(task, rows).table
    assert tokenization.apply(task, rows).table.equals(expected) and not caplog.messages
    cached = next(cache_folder().iterdir())
    whole = cached.read_bytes()
    cached.unlink()  # `expected` is mapped from it
    cached.write_bytes(damage(whole))
    assert tokenization.apply(task, rows).table.equals(expected)
    assert len(caplog.messages) == 1 and str(cached) in caplog.text and "anew" in caplog.text
    assert cached.read_bytes() == whole


def test_a_csv_cell_may_be_long(tmp_path: Path) -> None:
    long = "word " * 600_000
    (tmp_path / "cola").mkdir()
    (tmp_path / "cola" / "train.csv").write_text(f"sentence,label\na,1\n{long},0\nb,1\n")
    assert rows_of("cola", tmp_path).table["sentence"].to_pylist() == ["a", long, "b"]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"text": "a", "label": 1}], "no column 'sentence'.*found: text, label"),
        ([{"sentence": "a", "label": float("inf")}], "row 1: label inf"),
        ([{"sentence": "a", "label": 1}, {"sentence": "b", "label": 7}], r"train\.parquet: row 2: label 7"),
        ([{"sentence": "a", "label": 1}, {"sentence": None, "label": 1}], "row 2: column 'sentence' is null"),
    ],
)
def test_faults_of_rows(rows: list[dict], complaint: str, tmp_path: Path, tokenization: Tokenization) -> None:
    with pytest.raises(InputError, match=complaint):
        tokenization.apply(get_task("cola"), rows_of("cola", broken(tmp_path, rows)))


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    source = broken(tmp_path, [{"sentence": "a", "label": 1}])
    parquet.write_table(parquet.read_table(f"{source}/cola/train.parquet").slice(0, 0), f"{source}/cola/train.parquet")
    with pytest.raises(InputError, match="has no rows"):
        rows_of("cola", source)


def test_the_hub_out_of_reach_is_said_at_once() -> None:
    with pytest.raises(InputError, match=r"nyu-mll/glue/cola.*hub cannot be reached.*data\.source"):
        load_rows(get_task("cola"), "train", "hub")


@pytest.mark.parametrize("converted", [False, True])
def test_the_hub_path_on_a_data_set_repository(converted: bool, tmp_path: Path) -> None:
    """A local folder laid out as a repository on the hub goes through the same `load_dataset`."""
    folder = tmp_path / "cola"
    folder.mkdir()
    rows = example_rows("cola", 10, "hub")
    parquet.write_table(pa.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")
    readme = "---\nconfigs:\n- config_name: cola\n  data_files:\n  - split: train\n    path: cola/train-*\n---\n"
    revision = "main"
    if converted:
        revision = "refs/convert/parquet"
    else:
        (tmp_path / "README.md").write_text(readme)
    task = get_task("cola").model_copy(update={"path": str(tmp_path), "revision": revision})
    assert load_rows(task, "train", "hub").table.select(["sentence", "label"]).to_pylist() == [
        {"sentence": row["sentence"], "label": row["label"]} for row in rows
    ]


def test_nested_columns_and_rows_without_label(tmp_path: Path, tokenization: Tokenization) -> None:
    (tmp_path / "hellaswag").mkdir()
    rows = [{"ctx": "the cat", "endings": ["sees", "likes", "finds", "not"], "label": "2"}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "hellaswag" / "train.parquet")
    task = get_task("hellaswag")
    assert tokenization.apply(task, load_rows(task, "train", str(tmp_path))).targets() == ["2"]

    (tmp_path / "snli").mkdir()
    rows = [{"premise": "a", "hypothesis": "b", "label": label} for label in (0, -1, 2)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "snli" / "train.parquet")
    task = get_task("snli")
    assert tokenization.apply(task, load_rows(task, "train", str(tmp_path))).targets() == ["0", "2"]


def test_rows_without_the_unlabelled_ones_are_other_content(tmp_path: Path) -> None:
    source = broken(tmp_path, [{"sentence": "a cat", "label": i % 3 - 1} for i in range(6)])
    kept = get_task("cola").model_copy(update={"drops_unlabelled": True})
    all_rows, labelled = (load_rows(task, "train", source) for task in (get_task("cola"), kept))
    assert (all_rows.table.num_rows, labelled.table.num_rows) == (6, 4)
    assert all_rows.fingerprint != labelled.fingerprint


def test_what_a_tokenizer_is_saved_with_does_not_depend_on_the_cache(
    data_folder: Path, tmp_path: Path, tokenization: Tokenization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERFORMER_CACHE", str(tmp_path))
    rows = load_rows(get_task("mrpc"), "train", str(data_folder))
    for _ in range(2):  # the cache holds nothing at first, then everything
        tokenization.apply(get_task("mrpc"), rows)
        assert tokenization.tokenizer.backend_tokenizer.truncation is None
