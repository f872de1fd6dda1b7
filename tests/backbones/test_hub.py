"""The hub's answers and silences: what is said, how soon, and what is on disk is used without asking."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, connected_hub
from huggingface_hub import constants

from hyperformer_cli.backbones.hub import HubError, ModelCopy, ask_commit, load_named
from hyperformer_cli.errors import InputError

SILENCE = ["cannot be reached"]
FAULTS = {
    "401": ["answered 401", "log in"],
    "403": ["answered 403", "ask for access"],
    "404": ["answered 404", "no such repository"],
    "405": ["answered 405"],
    "429": ["answered 429", "wait 1 seconds", "too many requests"],
    "503": ["answered 503", "try again later"],
    "hang": [*SILENCE, "no answer in time"],
    "reset": SILENCE,
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with connected_hub(monkeypatch, tmp_path) as server:
        server.add("model", "someone/t5", {"config.json": b"{}"})
        yield server


@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_hub_answers_is_said_and_soon(fault: str, hub: Hub) -> None:
    start = time.monotonic()
    with hub.failing(fault), pytest.raises(HubError) as raised:
        ask_commit("someone/t5", "main")
    assert time.monotonic() - start < 2.5
    for part in FAULTS[fault]:
        assert part in str(raised.value)
    assert len(hub.requests) == 1
    assert raised.value.status == (int(fault) if fault.isdigit() else None)
    assert constants.HF_HUB_OFFLINE is False  # an answer does not switch the libraries off


def test_silence_is_waited_for_once(hub: Hub) -> None:
    with hub.failing("hang"):
        for _ in range(3):
            with pytest.raises(HubError, match="no answer in time"):
                ask_commit("someone/t5", "main")
    assert len(hub.requests) == 1


def test_one_bad_answer_is_not_the_last(hub: Hub) -> None:
    with hub.failing("503"), pytest.raises(HubError):
        ask_commit("someone/t5", "main")
    assert ask_commit("someone/t5", "main") == hub.repositories["model", "someone/t5"].commit_of("main")


def test_a_name_that_is_none(hub: Hub) -> None:
    with pytest.raises(InputError, match=r"no such folder, and it is no name on the hub"):
        load_named(lambda name, **_: name, "no/such/folder", None)
    assert not hub.requests


class Loader:
    """Loads a file as transformers' loaders do."""

    @classmethod
    def load(cls, name: str, revision: str, local_files_only: bool = False) -> bytes:
        from huggingface_hub import hf_hub_download

        file = hf_hub_download(
            name, "config.json", revision=revision, local_files_only=local_files_only, cache_dir=constants.HF_HUB_CACHE
        )
        with open(file, "rb") as stream:
            return stream.read()


def test_a_copy_on_disk_asks_nothing(hub: Hub) -> None:
    assert load_named(Loader.load, "someone/t5", None) == b"{}"
    hub.requests.clear()
    ask_commit.cache_clear()
    with hub.failing("503"):
        copy = ModelCopy.find("someone/t5", "main")
        assert copy is not None
        assert load_named(Loader.load, "someone/t5", "main") == b"{}"
        assert load_named(Loader.load, "someone/t5", copy.commit) == b"{}"
    assert not hub.requests


def test_a_branch_moves_only_when_asked_to(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    load_named(Loader.load, "someone/t5", None)
    hub.add("model", "someone/t5", {"config.json": b'{"new": 1}'})
    ask_commit.cache_clear()
    assert load_named(Loader.load, "someone/t5", None) == b"{}"
    monkeypatch.setenv("HYPERFORMER_REFRESH", "1")
    assert load_named(Loader.load, "someone/t5", None) == b'{"new": 1}'
    ask_commit.cache_clear()
    with hub.failing("503"):  # asked for again, and not answered
        assert load_named(Loader.load, "someone/t5", None) == b'{"new": 1}'


def test_an_incomplete_copy_is_completed(hub: Hub) -> None:
    load_named(Loader.load, "someone/t5", None)
    copy = ModelCopy.find("someone/t5", "main")
    assert copy is not None
    (copy.folder / "config.json").unlink()
    ask_commit.cache_clear()
    assert load_named(Loader.load, "someone/t5", None) == b"{}"


def test_a_damaged_copy_is_named(hub: Hub) -> None:
    class Picky(Loader):
        broken = False

        @classmethod
        def load(cls, name: str, revision: str, local_files_only: bool = False) -> bytes:
            if cls.broken:
                raise ValueError("expected value at line 1")
            return super().load(name, revision, local_files_only)

    load_named(Picky.load, "someone/t5", None)
    Picky.broken = True
    with pytest.raises(InputError, match=r"model 'someone/t5' \(revision main\) cannot be loaded from its files in .*"):
        load_named(Picky.load, "someone/t5", None)


def test_other_programs_copies_are_used_when_the_hub_is_silent(hub: Hub) -> None:
    Loader.load("someone/t5", "main")
    ask_commit.cache_clear()
    with hub.failing("reset"):
        assert load_named(Loader.load, "someone/t5", None) == b"{}"
