"""The Hugging Face hub: whether it can be reached, and models and configurations by name, with errors for a person."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from hyperformer_cli.bundled import folder_of
from hyperformer_cli.errors import InputError

PROBE_SECONDS = 4.0


@cache
def is_reachable() -> bool:
    """True if the hub answers; asked once, in seconds, before libraries retry for half a minute.

    False under HF_HUB_OFFLINE=1, or when it does not answer in time.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=PROBE_SECONDS):  # follows HTTPS_PROXY
            return True
    except OSError:
        # The libraries below us read this variable once, on import; they must not go on trying either.
        os.environ["HF_HUB_OFFLINE"] = "1"
        constants.HF_HUB_OFFLINE = True
        return False


def is_folder(name: str) -> bool:
    """Whether a model's name is a folder of this machine, `bundled` among them."""
    return Path(folder_of(name)).is_dir()


def load_named(load: Callable[..., Any], name: str, revision: str | None, **options: Any) -> Any:
    """Calls one of transformers' loaders.

    Raises:
        InputError: no such model, a damaged file, or no connection and no copy on disk.
    """
    offline = not is_folder(name) and not is_reachable()
    name = folder_of(name)
    try:
        return load(name, revision=revision or "main", local_files_only=offline, **options)
    except Exception as error:  # OSError, ValueError, SafetensorError, and what a damaged file makes of json
        if offline:
            raise InputError(
                f"model '{name}' is not on this machine and the hub cannot be reached: give a folder with it "
                "(model.name=FOLDER in a recipe, --backbone FOLDER for a run), or run once with a connection"
            ) from error
        raise InputError(
            f"model '{name}' (revision {revision or 'main'}) cannot be loaded: {first_lines(error)}"
        ) from error


def first_lines(error: Exception) -> str:
    """The beginning of a library's message, on one line."""
    return " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
