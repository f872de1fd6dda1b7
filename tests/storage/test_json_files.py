"""JSON files that are damaged in ways that end, or halt, a plain `json.load`."""

import os
from pathlib import Path

import pytest

from hyperformer_cli.errors import InputError
from hyperformer_cli.runs import fewshot_files
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.storage.json_files import read_json
from hyperformer_cli.storage.manifest import file_states, read_manifest, remove_manifest
from hyperformer_cli.storage.trained import read_description

DEEP = "[" * 200_000


def make_pipe(file: Path) -> None:
    os.mkfifo(file)


@pytest.mark.parametrize("make", [lambda file: file.write_text(DEEP), make_pipe, Path.mkdir])
def test_what_cannot_be_read_is_damaged(make, tmp_path: Path) -> None:
    for name in ("manifest.json", "hyperformer.json", "results.json"):
        make(tmp_path / name)
    with pytest.raises(ValueError, match=r"nested too deeply|not a file"):
        read_json(tmp_path / "results.json")
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match=r"hyperformer\.json: damaged"):
        read_description(tmp_path)
    remove_manifest(tmp_path)
    with pytest.raises(InputError, match=r"results\.json: damaged"):
        RunFolder(tmp_path).results()
    assert not (tmp_path / "manifest.json").exists()


def test_a_pipe_in_the_place_of_a_file_is_damaged_and_not_waited_for(tmp_path: Path) -> None:
    make_pipe(tmp_path / "weights.safetensors")
    assert file_states(tmp_path, {"weights.safetensors": "0" * 64}) == {"weights.safetensors": "damaged"}


def test_a_trial_nested_too_deeply_counts_as_missing(tmp_path: Path) -> None:
    file = fewshot_files.trial_file(tmp_path, fewshot_files.FewShotTrial("paws", 4, 1))
    file.parent.mkdir(parents=True)
    file.write_text(DEEP)
    assert fewshot_files.read_trials(tmp_path) == {}
