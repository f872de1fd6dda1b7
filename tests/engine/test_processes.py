"""What processes agree on, as far as one process can show it."""

import pickle
from pathlib import Path

import pytest

from hyperformer_cli.config.sections import TrainingSection
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.processes import code_version, first_does
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.folder import FolderInUse, RunFolder


@pytest.mark.parametrize("variable", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM"])
def test_engines_that_would_be_taken_for_ddp_are_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`accelerate launch --use_deepspeed` trained with DDP, in silence."""
    monkeypatch.setenv(variable, "true")
    with pytest.raises(InputError, match=f"{variable}: .* is not supported"):
        make_accelerator(TrainingSection())
    monkeypatch.setenv(variable, "false")
    make_accelerator(TrainingSection())


def test_a_folder_in_use_is_so_in_every_process() -> None:
    """A sweep goes on with another cell then, in all of them."""
    error = pickle.loads(pickle.dumps(FolderInUse(RunFolder(Path("r")), "pid 1 on here")))
    assert type(error) is FolderInUse and str(error) == "r is in use by another process (pid 1 on here)"
    assert error.folder.path == Path("r")


def test_versions_of_the_code_and_of_the_libraries_below() -> None:
    versions = code_version()
    assert versions.keys() >= {"version of hyperformer", "version of torch"} and versions == code_version()


def test_one_process_does_it_itself() -> None:
    assert first_does(make_accelerator(TrainingSection()), lambda: 3) == 3
