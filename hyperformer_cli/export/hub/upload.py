"""Uploading a finished folder to the hub."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public; its package lists no names

from hyperformer_cli.backbones import hub
from hyperformer_cli.errors import HyperformerError, InputError


def check_push(repository: str) -> None:
    """Fails before any work is done for an upload that cannot happen.

    Raises:
        InputError: not `owner/name`, no login, or the hub does not answer.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"--push-to {repository}: {str(error).splitlines()[0]}") from error
    if repository.count("/") != 1:
        raise InputError(f"--push-to {repository}: expected owner/name")
    try:
        HfApi().whoami()
    except Exception as error:  # the client's, and those of the HTTP library below it
        reason = "no token; log in (hf auth login, or HF_TOKEN)"
        if not isinstance(error, LocalTokenNotFoundError):
            reason = str(hub.as_hub_error(error))
        raise InputError(f"--push-to {repository}: {reason}; or export without it and push later") from error


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
        reason = str(hub.as_hub_error(error)) or type(error).__name__
        raise HyperformerError(
            f"{folder} is written and verified, but was not pushed to {repository}: {reason}. "
            f"Once that is solved: hf upload {repository} {folder}"
        ) from error
    return str(address)
