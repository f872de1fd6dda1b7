"""What commands share at the terminal: results go to stdout, all else to stderr, errors become exit codes."""

import contextlib
import errno
import functools
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec

import typer

from hyperformer_cli.cli.launch import adopt_slurm_environment, check_runs_alone
from hyperformer_cli.cli.lines import say
from hyperformer_cli.errors import HyperformerError, InputError, WriteError
from hyperformer_cli.storage.atomic import write_text

P = ParamSpec("P")
_FIRST_WORD_SECONDS = 3.0
_SAVES_MEMORY = (
    "smaller batches (training.micro_batch_size, evaluation.batch_size; predict --batch-size), shorter inputs "
    "(data.max_source_length) or model.gradient_checkpointing=true need less"
)

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key of the recipe, e.g. training.max_steps=1000. Repeatable."
    ),
]
Backbone = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="A folder with the model the run was trained on, if that model has moved."),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"] | None,
    typer.Option(help="Where to compute, in place of the recipe's training.device."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout instead of text.")]


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turns our own errors into a message on stderr and an exit code; any other is a bug and keeps its traceback.

    For commands that run in one process.
    """
    return _reporting(command, lambda: check_runs_alone(command.__name__.replace("_", "-")))


def reports_errors_of_all(command: Callable[P, None]) -> Callable[P, None]:
    """The same for commands that several processes run together."""
    return _reporting(command, adopt_slurm_environment)


def _reporting(command: Callable[P, None], prepare: Callable[[], None]) -> Callable[P, None]:
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        quiet_libraries()
        try:
            prepare()
            command(*args, **kwargs)
        except HyperformerError as error:
            _let_the_first_process_speak()
            if is_main_process() or error.exit_code < 128:  # all processes stop on a signal, and one reports it
                say(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader of the pipe has gone. Python would complain again when it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                say(f"error: {error.strerror}: {error.filename or ''}", err=True)
                raise typer.Exit(2) from None
            if error.errno != errno.ENOSPC:
                raise
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            say(f"error: {error.strerror}: {error.filename or 'standard output'}", err=True)
            raise typer.Exit(1) from None
        except Exception as error:
            _let_the_first_process_speak()
            if (wanted := _memory_wanted(error)) is None:
                raise
            say(f"error: out of memory ({wanted}); {_SAVES_MEMORY}", err=True)
            raise typer.Exit(1) from None

    return wrapped


def _memory_wanted(error: BaseException | None) -> str | None:
    """What an allocator said when memory was short; None if that is not what happened. torch need not be imported."""
    while error is not None:
        text = str(error)
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "allocate memory" in text:
            return (text.strip().splitlines() or ["no size was given"])[0].rpartition("DefaultCPUAllocator: ")[2]
        error = error.__cause__
    return None


def _let_the_first_process_speak() -> None:
    """Waits: other processes mostly fail as the first did, or because it failed; then a launcher ends this one."""
    if not is_main_process():
        time.sleep(_FIRST_WORD_SECONDS)


def quiet_libraries() -> None:
    """Silences the warnings and progress bars of libraries, which would mix with our lines, but not their errors."""
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    for name in ("accelerate", "torch", "datasets", "evaluate"):
        logging.getLogger(name).setLevel(logging.ERROR)


def is_main_process() -> bool:
    """Whether this process is the one that prints; launchers set RANK."""
    return os.environ.get("RANK", "0") == "0"


def on_device(overrides: list[str] | None, device: str | None) -> list[str]:
    """Changes to a recipe, with the device of the command line behind them."""
    return [*(overrides or ()), *([] if device is None else [f"training.device={device}"])]


def names(text: str | None, option: str) -> list[str] | None:
    """The names in a comma-separated option; None if it is not given.

    Raises:
        InputError: the option holds no name.
    """
    found = None if text is None else [name.strip() for name in text.split(",") if name.strip()]
    if found == []:
        raise InputError(f"{option} {text!r}: give names separated by commas")
    return found


def new_file(path: Path | None, name: str) -> Path:
    """Where a copy goes: `path`, `name` in it if it is a folder, or `name` here.

    Raises:
        InputError: the file exists.
    """
    file = path / name if path and path.is_dir() else path or Path(name)
    if file.exists():
        raise InputError(f"{file} exists; name another file")
    return file


def write_copy(file: Path, text: str) -> None:
    """Writes a new file that a person named.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        write_text(file, text)
    except WriteError:
        raise
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror}") from error


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
