"""The versions, the hardware and the commit that a run was trained with."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_PACKAGES = (
    "hyperformer", "torch", "transformers", "accelerate", "datasets", "evaluate", "safetensors", "tokenizers", "numpy",
)  # fmt: skip


def describe_environment(world_size: int) -> dict[str, Any]:
    """The content of `environment.json`, which names no person and no path."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "processes": world_size,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that the package runs from; None if it is installed."""
    checkout = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    if not (checkout / ".git").exists():
        return None
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
