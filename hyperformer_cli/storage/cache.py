"""Where what can be made again is kept."""

import os
from pathlib import Path


def cache_root() -> Path:
    """`HYPERFORMER_CACHE`, or `hyperformer` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyperformer"
    return Path(os.environ.get("HYPERFORMER_CACHE") or default)
