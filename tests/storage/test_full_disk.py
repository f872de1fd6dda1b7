"""A full disk: one line that names the file, exit code 1, and a run that goes on when there is room again."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from hyperformer_cli.cli.main import app
from hyperformer_cli.errors import WriteError
from hyperformer_cli.storage.atomic import atomic_path, write_json, writing
from hyperformer_cli.storage.trained import write_tensors


def test_files_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    writers: dict[str, Callable[[Path], None]] = {
        "x.safetensors": lambda path: write_tensors(path, {"w": torch.zeros(1 << 16)}),
        "x.json": lambda path: write_json(path, "x" * (1 << 17)),
    }
    for name, write in writers.items():
        message = rf"^\S+{name}: cannot be written: File too large$"
        with file_limit(1 << 16), pytest.raises(WriteError, match=message) as error:
            write(tmp_path / name)
        assert error.value.exit_code == 1 and isinstance(error.value, OSError)
    assert list(tmp_path.iterdir()) == []


def test_a_full_device_is_named_without_its_own_errors_name(tmp_path: Path) -> None:
    with (
        pytest.raises(WriteError, match=r"metrics\.jsonl: cannot be written: No space left on device"),
        writing(tmp_path / "metrics.jsonl"),
        open("/dev/full", "w") as full,
    ):
        full.write("x")


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic_path(tmp_path / "x"):
        raise PermissionError(13, "no")
    with pytest.raises(ValueError, match="mine"), writing(tmp_path):
        raise ValueError("mine")


@contextmanager
def file_limit(limit: int) -> Iterator[None]:
    """Files of this process may have so many bytes: as on a full disk, writing fails in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refused(limit: int, *arguments: object) -> str:
    """The last line of stderr of a command that finds the disk full."""
    with file_limit(limit):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    return result.stderr.splitlines()[-1]


def test_training_and_exports_on_a_full_disk(recipe_values: dict, write_recipe: Callable, tmp_path: Path) -> None:
    recipe = write_recipe({**recipe_values, "training": {**recipe_values["training"], "max_steps": 4, "save_every": 2}})
    # The tokenised rows fit; the weights do not.
    assert ".safetensors: cannot be written: File too large" in refused(20_000, "train", recipe)
    assert CliRunner().invoke(app, ["train", str(recipe)]).exit_code == 0  # there is room again
    for format in ("adapterhub", "static", "hub"):
        complaint = refused(20_000, "export", tmp_path / "run", "--format", format)
        assert "cannot be written: File too large" in complaint
        assert not (tmp_path / "run" / "export").exists()


def test_a_full_disk_under_the_cache_is_named_and_no_mistake_of_the_recipe(
    recipe_values: dict, write_recipe: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERFORMER_CACHE", str(tmp_path / "cache"))
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))\n"
        "from hyperformer_cli.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "train", str(write_recipe(recipe_values))]
    full = subprocess.run(command, capture_output=True, text=True)
    assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
    complaint = f"error: {tmp_path}/cache/tokenized (HYPERFORMER_CACHE): cannot be written: File too large"
    assert full.stderr.splitlines()[-1] == complaint
    assert not list((tmp_path / "cache").rglob("*.tmp"))
