"""Uploading a finished folder to the hub."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public; its package lists no names

from hyperformer_cli.backbones import hub
from hyperformer_cli.errors import HyperformerError, InputError


def check_push(repository: str) -> None:
    """Fails before any work is done for an upload that cannot happen.

    Raises:
        InputError: not `owner/name`, or the hub does not answer.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"--push-to {repository}: {str(error).splitlines()[0]}") from error
    if repository.count("/") != 1:
        raise InputError(f"--push-to {repository}: expected owner/name")
    if not hub.is_reachable():
        raise InputError(f"--push-to {repository}: the hub cannot be reached; export without it and push later")


def push(folder: Path, repository: str) -> str:
    """Uploads a folder as a model repository, which is created if it does not exist; returns its address.

    Raises:
        HyperformerError: the hub refused; the folder stays.
    """
    api = HfApi()
    try:
        address = api.create_repo(repository, repo_type="model", exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Exported by hyperformer")
    except Exception as error:  # whatever the network, the hub and its client make of it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise HyperformerError(
            f"{folder} is written and verified, but was not pushed to {repository}: {reason}. "
            f"Once that is solved: hf upload {repository} {folder}"
        ) from error
    return str(address)
