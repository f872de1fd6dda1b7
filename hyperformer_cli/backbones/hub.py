"""The Hugging Face hub: what a branch is there now, and models by name, with errors for a person.

A branch is resolved to a commit once. What was loaded of that commit is recorded in the cache folder, so that later
starts read the copy on disk and ask the hub nothing. `HYPERFORMER_REFRESH=1` asks again.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from hyperformer_cli.bundled import folder_of
from hyperformer_cli.errors import InputError
from hyperformer_cli.storage.atomic import write_json
from hyperformer_cli.storage.cache import cache_root

_log = logging.getLogger(__name__)
_silent: dict[str, str] = {}  # endpoint: why it gave this process no answer; so nobody waits for it twice
_REASONS = {
    401: "the repository does not exist, or it is private or gated; log in (hf auth login, or HF_TOKEN)",
    403: "your account may not read it; ask for access on its page, or use another token",
    404: "there is no such repository or revision",
    407: "the proxy wants a login; see HTTPS_PROXY",
    429: "too many requests; wait, or log in (hf auth login, or HF_TOKEN) for a higher limit",
}


class HubError(Exception):
    """The hub gave no answer, or another than the one that was asked for.

    Attributes:
        status: of its answer; None without one.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status

    @property
    def is_final(self) -> bool:
        """Whether it will answer the same later, unlike a busy server."""
        return self.status in (401, 403, 404)


@cache
def ask_commit(name: str, revision: str, kind: Literal["model", "dataset"] = "model") -> str:
    """The commit that a branch or tag is on the hub now: one request, by huggingface_hub's client, without retries.

    Raises:
        HubError: why there is none.
    """
    from huggingface_hub import HfApi, constants

    if constants.ENDPOINT in _silent:
        raise HubError(_silent[constants.ENDPOINT])
    try:
        found = HfApi().repo_info(name, revision=revision, repo_type=kind, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:  # the client's, and those of the HTTP library below it
        raise as_hub_error(error) from error
    if not found.sha:
        raise HubError(f"{constants.ENDPOINT} names no commit of {name}; is it a hub?")
    return found.sha


def as_hub_error(error: BaseException) -> HubError:
    """What an exception from a library's use of the hub says, for a person."""
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    chain, link = [], error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__  # type: ignore[assignment]
    for link in chain:
        if isinstance(link, HubError):
            return link
        if isinstance(link, OfflineModeIsEnabled):
            return HubError("the hub cannot be reached (HF_HUB_OFFLINE is set)")
        if isinstance(link, HFValidationError):
            return HubError(f"there is no such folder, and it is no name on the hub: {first_lines(link)}", 404)
        if isinstance(link, EntryNotFoundError):
            continue  # one of many files that a library looks for; what it makes of that is the message
        if isinstance(link, HfHubHTTPError) and link.response is not None:
            return _answered(link.response)
        modules = {cls.__module__.partition(".")[0] for cls in type(link).__mro__}
        if modules & {"httpx", "httpx2", "httpcore"}:
            reason = f"the hub ({constants.ENDPOINT}) cannot be reached: {_silence(link)}"
            _silent[constants.ENDPOINT] = reason
            return HubError(reason)
    return HubError(first_lines(error))


def _answered(response: Any) -> HubError:
    from huggingface_hub import constants

    status = response.status_code
    reason = _REASONS.get(status, "it is busy or under repair; try again later" if status >= 500 else "")
    wait = response.headers.get("Retry-After", "")
    after = f" (it asks to wait {wait} seconds)" if wait.isdigit() else ""
    phrase = f"{status} {response.reason_phrase}".strip()
    return HubError(f"the hub ({constants.ENDPOINT}) answered {phrase}{after}" + (reason and f": {reason}"), status)


def _silence(error: BaseException) -> str:
    if any("Timeout" in cls.__name__ for cls in type(error).__mro__):
        return "no answer in time (HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT)"
    return first_lines(error) or type(error).__name__


@dataclass(frozen=True)
class ModelCopy:
    """What is on this machine of a model's branch, tag or commit.

    Attributes:
        commit: what the revision was when it was resolved.
        loaded: for each loader that has loaded all it needs, the names and sizes of the files that were there.
    """

    name: str
    revision: str
    commit: str
    loaded: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def find(cls, name: str, revision: str | None) -> "ModelCopy | None":
        """The recorded copy; None if there is none."""
        with suppress(OSError, ValueError, TypeError):
            return cls(**json.loads(_record(name, revision or "main").read_bytes()))
        return None

    @property
    def folder(self) -> Path:
        """The commit's folder in the hub's cache."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        repository = repo_folder_name(repo_id=self.name, repo_type="model")
        return Path(constants.HF_HUB_CACHE) / repository / "snapshots" / self.commit

    def has(self, loader: str) -> bool:
        """Whether all files are there that the loader found."""
        files = self.loaded.get(loader)
        return files is not None and files.items() <= _sizes(self.folder).items()

    @property
    def has_weights(self) -> bool:
        """Whether a loader has found weights, and all of them are there."""
        return any(
            self.has(loader) and any(file.endswith((".safetensors", ".bin")) for file in files)
            for loader, files in self.loaded.items()
        )

    def with_loaded(self, loader: str) -> "ModelCopy":
        return replace(self, loaded={**self.loaded, loader: _sizes(self.folder)})

    def keep(self) -> None:
        """Records it; without effect where the cache folder cannot be written: the hub is asked again then."""
        with suppress(OSError):
            for revision in {self.revision, self.commit}:  # a run names the commit
                write_json(_record(self.name, revision), asdict(replace(self, revision=revision)))


def _sizes(folder: Path) -> dict[str, int]:
    with suppress(OSError):
        return {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    return {}


def _record(name: str, revision: str) -> Path:
    from huggingface_hub import constants

    key = json.dumps([constants.ENDPOINT, constants.HF_HUB_CACHE, name, revision])
    return cache_root() / "hub" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def is_silent() -> bool:
    """Whether the hub has left a request of this process without an answer."""
    from huggingface_hub import constants

    return constants.ENDPOINT in _silent


def is_offline() -> bool:
    """Whether the hub is switched off for the libraries (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    return constants.is_offline_mode()


def wants_refresh() -> bool:
    """Whether branches are to be resolved again."""
    return os.environ.get("HYPERFORMER_REFRESH", "") not in ("", "0")


def is_folder(name: str) -> bool:
    """Whether a model's name is a folder of this machine, `bundled` among them."""
    return Path(folder_of(name)).is_dir()


def is_commit(revision: str | None) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", revision or "") is not None


def load_named(load: Callable[..., Any], name: str, revision: str | None, what: str = "model", **options: Any) -> Any:
    """Calls one of transformers' loaders, on the copy on disk if it is complete; `what` is loaded, for messages.

    Raises:
        InputError: no such model, a damaged file, or no answer from the hub and no copy on disk.
    """
    if is_folder(name):
        try:
            return load(folder_of(name), revision=revision or "main", **options)
        except Exception as error:  # OSError, ValueError, SafetensorError, and what a damaged file makes of json
            raise InputError(f"{what} '{name}' cannot be loaded: {first_lines(error)}") from error
    try:
        return _load_by_name(load, name, revision or "main", options)
    except InputError as error:
        raise InputError(f"{what} '{name}' (revision {revision or 'main'}) {error}") from error.__cause__


def _load_by_name(load: Callable[..., Any], name: str, revision: str, options: dict[str, Any]) -> Any:
    loader = f"{getattr(load, '__self__', load).__name__}.{load.__name__}"
    copy = ModelCopy.find(name, revision)
    if copy is not None and copy.has(loader) and not wants_refresh():
        return _from_disk(load, copy, options)
    try:
        commit = ask_commit(name, revision)
    except HubError as error:
        return _without_hub(load, name, copy.commit if copy else revision, error, options)
    if copy is None or (wants_refresh() and copy.commit != commit):
        copy = ModelCopy(name, revision, commit)
    try:
        loaded = load(name, revision=copy.commit, **options)
    except Exception as error:
        raise InputError(f"cannot be loaded: {as_hub_error(error)}") from error
    copy.with_loaded(loader).keep()
    return loaded


def _from_disk(load: Callable[..., Any], copy: ModelCopy, options: dict[str, Any]) -> Any:
    try:
        return load(copy.name, revision=copy.commit, local_files_only=True, **options)
    except Exception as error:
        raise InputError(
            f"cannot be loaded from its files in {copy.folder}: {first_lines(error)}; remove that folder to download "
            "them again"
        ) from error


def _without_hub(load: Callable[..., Any], name: str, revision: str, reason: HubError, options: dict[str, Any]) -> Any:
    """Loads what is on disk, which another program may have downloaded."""
    if reason.is_final:
        raise InputError(f"cannot be loaded: {reason}") from reason
    try:
        loaded = load(name, revision=revision, local_files_only=True, **options)
    except Exception as error:
        if reason.status is not None:
            raise InputError(f"cannot be loaded: {reason}") from reason
        raise InputError(
            f"is not on this machine and {reason}: give a folder with it (model.name=FOLDER in a recipe, --backbone "
            "FOLDER for a run), or run once with a connection"
        ) from error
    if reason.status is not None:
        _log.warning("%s: %s; the copy on this machine is used", name, reason)
    return loaded


def first_lines(error: BaseException) -> str:
    """The beginning of a library's message, on one line."""
    return " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
