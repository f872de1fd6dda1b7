"""Files and folders appear whole or not at all: temporary name, fsync, rename."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hyperformer_cli.errors import WriteError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UMASK = os.umask(0)
os.umask(_UMASK)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within the block a full disk becomes an error that names `path`, whichever library met it.

    Raises:
        WriteError: the disk is full, or a quota or a limit on the size of files is reached.
    """
    try:
        yield
    except WriteError:
        raise
    except Exception as error:  # safetensors and tokenizers do not raise an OSError
        named = isinstance(error, OSError)  # one of another kind has a message of its own
        number = error.errno if isinstance(error, OSError) else _errno_in(str(error))
        if number is not None and (number in _FULL or not named):
            raise WriteError(number, path) from error
        raise


def _errno_in(message: str) -> int | None:
    """The number that Rust writes at the end of an input or output error."""
    found = re.search(r"\(os error (\d+)\)", message)
    return int(found[1]) if found else None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there becomes `path` when the block ends well.

    Raises:
        WriteError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            yield temporary
            temporary.chmod(0o666 & ~_UMASK)  # safetensors writes files only their owner can read
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """The same for a folder that does not exist yet: an empty one beside it, gone again if the block fails."""
    made = [parent for parent in path.parents if not parent.exists()]  # the innermost first
    path.parent.mkdir(parents=True, exist_ok=True)
    here = os.uname().nodename.replace(".", "-")
    temporary = path.with_name(f".{path.name}.{here}.{os.getpid()}.tmp")
    for leftover in path.parent.glob(f".{path.name}.{here}.*.tmp"):
        process = leftover.name.split(".")[-2]
        if process.isdigit() and not _is_alive(int(process)):  # it was killed
            shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir()
    try:
        with writing(path):
            yield temporary
            for inside in [*temporary.rglob("*"), temporary]:
                sync(inside)
        temporary.rename(path)
        sync(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        raise


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return process != os.getpid()


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sync(path: Path) -> None:
    """Forces a file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
