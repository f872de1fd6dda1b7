"""A full disk: one line that names the file, exit code 1, and a run that goes on when there is room again."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from hyperformer_cli.errors import WriteError
from hyperformer_cli.storage.atomic import atomic_path, write_json, writing
from hyperformer_cli.storage.trained import write_tensors


@pytest.fixture
def small_limit() -> Iterator[None]:
    """Files of this process may have 64 KiB: as on a full disk, writing fails in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_files_that_cannot_be_written_are_named(small_limit: None, tmp_path: Path) -> None:
    writers: dict[str, Callable[[Path], None]] = {
        "x.safetensors": lambda path: write_tensors(path, {"w": torch.zeros(1 << 16)}),
        "x.json": lambda path: write_json(path, "x" * (1 << 17)),
    }
    for name, write in writers.items():
        with pytest.raises(WriteError, match=rf"^\S+{name}: cannot be written: File too large$") as error:
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


def command(limit: int, *arguments: object) -> subprocess.CompletedProcess:
    """The command line in a process whose files may have so many bytes."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); del sys.argv[1]\n"
        "from hyperformer_cli.cli.main import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(limit), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ,
    )


def test_training_and_exports_on_a_full_disk(recipe_values: dict, write_recipe: Callable, tmp_path: Path) -> None:
    recipe = write_recipe({**recipe_values, "training": {**recipe_values["training"], "max_steps": 4, "save_every": 2}})
    full = command(20_000, "train", recipe)  # the tokenised rows fit; the weights do not
    assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
    assert ".safetensors: cannot be written: File too large" in full.stderr.splitlines()[-1]
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    assert command(unlimited, "train", recipe).returncode == 0  # there is room again
    for format in ("adapterhub", "static", "hub"):
        full = command(20_000, "export", tmp_path / "run", "--format", format)
        assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
        assert "cannot be written: File too large" in full.stderr.splitlines()[-1]
        assert not (tmp_path / "run" / "export").exists()


def test_a_full_disk_under_the_cache_is_named_and_no_mistake_of_the_recipe(
    recipe_values: dict, write_recipe: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERFORMER_CACHE", str(tmp_path / "cache"))
    full = command(1_000, "train", write_recipe(recipe_values))
    assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
    complaint = f"error: {tmp_path}/cache/tokenized (HYPERFORMER_CACHE): cannot be written: File too large"
    assert full.stderr.splitlines()[-1] == complaint
    assert not list((tmp_path / "cache").rglob("*.tmp"))
