"""Several processes as one: the first works while the others wait, and none outlives another's failure.

Both use the key-value store through which the processes found each other. Waiting at it has a limit of its own: the
first start of a run may download and tokenise for hours, and a collective that takes so long is a fault.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count

from accelerate import Accelerator
from torch import distributed
from torch._C._distributed_c10d import Store

from hyperformer_cli.errors import HyperformerError, InputError

COLLECTIVE_TIMEOUT = timedelta(minutes=30)  # that processes may be apart in training and evaluation
FIRST_TIMEOUT = timedelta(days=2)
_FAILURE = "hyperformer/failure"
_LOOK_SECONDS, _HEARD_SECONDS, _LAST_WORD_SECONDS = 1.0, 5.0, 10.0
_turns = count()  # every process takes the same turns


def _store() -> Store:
    return distributed.distributed_c10d._get_default_store()


@contextmanager
def main_process_first(accelerator: Accelerator) -> Iterator[None]:
    """The first process goes through the block, then the others do.

    Raises:
        InputError: on the others, where the first failed; with its message.
        HyperformerError: on the others, where the first has gone.
    """
    if accelerator.num_processes == 1:
        yield
        return
    store, key = _store(), f"hyperformer/first/{next(_turns)}"
    if accelerator.is_main_process:
        try:
            yield
        except BaseException as error:
            _tell(store, key, _message(error), accelerator.num_processes)
            raise
        store.set(key, "done")
        return
    try:
        store.wait([key], FIRST_TIMEOUT)
        outcome = _hear(store, key)
    except RuntimeError as error:
        raise HyperformerError("the first process has gone; it was killed, or its machine failed") from error
    if outcome != "done":
        raise InputError(outcome)
    yield


@contextmanager
def ends_with_the_others(accelerator: Accelerator) -> Iterator[None]:
    """In the block, a failure of one process ends all, and each says whose failure it was.

    A process that hangs because another has failed is ended after some seconds; one that was killed leaves no message,
    and the others know it by the connection that breaks, or by `COLLECTIVE_TIMEOUT`.

    Raises:
        HyperformerError: another process failed.
    """
    if accelerator.num_processes == 1:
        yield
        return
    store, rank, over = _store(), accelerator.process_index, threading.Event()
    watching = threading.Thread(target=_watch, args=(store.clone(), rank, over), daemon=True)  # type: ignore[attr-defined]
    watching.start()
    try:
        yield
    except HyperformerError as error:
        if error.exit_code < 128:  # a signal stops all of them, each by itself
            _leave(store, accelerator, _message(error))
        raise
    except Exception as error:
        if not isinstance(error, RuntimeError) or not _is_of_connection(error):
            _leave(store, accelerator, _message(error))
            raise
        over.wait(_LOOK_SECONDS)  # whose connection broke may be about to say why
        failure = _failure(store, rank)
        text = failure or "another process has gone; it was killed (out of memory?), or its machine failed"
        raise HyperformerError(text) from error
    finally:
        over.set()


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, HyperformerError) else f"{type(error).__name__}: {error}"


def _is_of_connection(error: RuntimeError) -> bool:
    """Whether a collective failed because of another process."""
    if isinstance(error, distributed.DistError):
        return True
    text = str(error).lower()
    return any(word in text for word in ("gloo", "nccl", "connection closed by peer", "connection reset"))


def _tell(store: Store, key: str, message: str, processes: int) -> None:
    """Leaves a message, and waits a little until the others have read it: the store may end with this process."""
    with suppress(RuntimeError):
        store.set(key, message)
        deadline = time.monotonic() + _HEARD_SECONDS
        while store.add(f"{key}/heard", 0) < processes - 1 and time.monotonic() < deadline:
            time.sleep(0.05)


def _hear(store: Store, key: str) -> str:
    message = store.get(key).decode()
    store.add(f"{key}/heard", 1)
    return message


def _leave(store: Store, accelerator: Accelerator, message: str) -> None:
    """Says what this process failed of, unless another has failed before it."""
    with suppress(RuntimeError):
        if not store.check([_FAILURE]):
            _tell(store, _FAILURE, f"{accelerator.process_index} {message}", accelerator.num_processes)


def _failure(store: Store, own: int) -> str | None:
    """What another process failed of; None if none has."""
    with suppress(RuntimeError):
        if store.check([_FAILURE]):
            rank = store.get(_FAILURE).decode().partition(" ")[0]
            return None if int(rank) == own else f"process {_hear(store, _FAILURE).replace(' ', ': ', 1)}"
    return None


def _watch(store: Store, rank: int, over: threading.Event) -> None:
    while not over.wait(_LOOK_SECONDS):
        failure = _failure(store, rank)
        if failure is not None:
            if not over.wait(_LAST_WORD_SECONDS):
                print(f"error: {failure}", file=sys.stderr, flush=True)
                os._exit(1)
            return
