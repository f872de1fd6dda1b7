"""Whether the Hugging Face hub can be reached: asked once, in seconds, before libraries retry for half a minute."""

import os
from functools import cache
from urllib.request import Request, urlopen

PROBE_SECONDS = 4.0


@cache
def is_reachable() -> bool:
    """True if the hub answers. False under HF_HUB_OFFLINE=1, or when it does not answer in time."""
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
