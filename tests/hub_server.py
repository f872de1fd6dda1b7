"""A hub on the loopback address: what huggingface_hub, transformers and datasets ask of the real one, and its faults.

Repositories are dictionaries of files under revisions. Every request is recorded. A fault is what the server does in
place of an answer; `after` requests are answered first.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from hyperformer_cli.backbones.hub import ask_commit

_OF_REPOSITORIES = re.compile(
    r"^/(api/(models|datasets|repos)/|api/(whoami-v2|validate-yaml)$|lfs/)|/resolve/|/info/lfs/"
)


@dataclass
class Repository:
    """Files by revision, and the commit that each revision is."""

    kind: str
    name: str
    revisions: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit_of(self, revision: str) -> str | None:
        if revision in self.revisions:
            content = sorted(
                (path, hashlib.sha256(data).hexdigest()) for path, data in self.revisions[revision].items()
            )
            return hashlib.sha1(json.dumps([self.name, revision, content]).encode()).hexdigest()
        return next((c for r in self.revisions if (c := self.commit_of(r)) == revision), None)

    def files(self, revision: str) -> dict[str, bytes] | None:
        commit = self.commit_of(revision)
        return next((files for r, files in self.revisions.items() if self.commit_of(r) == commit), None)


@dataclass
class Hub:
    """The state of a running server.

    Attributes:
        endpoint: its address, for HF_ENDPOINT.
        requests: method and path of every request about repositories.
        fault: `401` and other status codes, `hang`, `reset`, or `truncate` (the end of a file is missing).
        after: requests that are answered before the fault.
        only: a pattern that a request's method and path must match for the fault; all do by default.
        unknown: other requests, which are answered with 404, such as the client's lists of programs that use it.
    """

    endpoint: str = ""
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    fault: str | None = None
    after: int = 0
    only: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    def add(self, kind: str, name: str, files: dict[str, bytes], revision: str = "main") -> Repository:
        repository = self.repositories.setdefault((kind, name), Repository(kind, name))
        repository.revisions[revision] = files
        return repository

    @contextmanager
    def failing(self, fault: str, after: int = 0, only: str = "") -> Iterator[None]:
        self.requests.clear()
        self.fault, self.after, self.only = fault, after, only
        try:
            yield
        finally:
            self.fault = None


@contextmanager
def connected_hub(patch: pytest.MonkeyPatch, scratch: Path) -> Iterator[Hub]:
    """The same as the hub of this very process, with caches in a folder; seconds of waiting are shortened to one."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HF_TOKEN"):
        patch.delenv(name, raising=False)
        patch.delenv(name.upper(), raising=False)
    patch.setenv("HYPERFORMER_CACHE", str(scratch / "cache"))
    with running_hub() as server:
        changes = {
            "ENDPOINT": server.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False, "HF_HUB_ETAG_TIMEOUT": 1,
            "HF_HUB_DISABLE_XET": True,  # uploads by git's protocol for large files; the other is a server of its own
            "HF_HUB_CACHE": str(scratch / "hf"), "HF_TOKEN_PATH": str(scratch / "token"),
        }  # fmt: skip
        for name, value in changes.items():
            patch.setattr(constants, name, value)
        close_session()
        ask_commit.cache_clear()
        yield server
    close_session()
    ask_commit.cache_clear()


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on a free port of 127.0.0.1, gone at the end of the block."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PUT = do_GET

    def _handle(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        self.where, self.query = unquote(address.path), parse_qs(address.query)
        if not _OF_REPOSITORIES.search(self.where):
            self.hub.unknown.append((self.command, self.path))
            return self._answer(404, {"error": "not found"})
        self.hub.requests.append((self.command, self.path))
        fault = self.hub.fault
        if (
            fault
            and len(self.hub.requests) > self.hub.after
            and re.search(self.hub.only, f"{self.command} {self.where}")
        ):
            if fault == "hang":
                self.hub.closing.wait(120)
                self.close_connection = True
                return
            if fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                return
            if fault.isdigit():
                extra = {"Retry-After": "1"} if fault == "429" else {}
                return self._answer(int(fault), {"error": "a fault of the test"}, extra)
        self._route()

    def _route(self) -> None:
        api = re.fullmatch(
            r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info|preupload|commit)/(.+))?", self.where
        )
        resolve = re.fullmatch(r"(?:/(datasets))?/([^/]+/[^/]+)/resolve/(refs/[^/]+/[^/]+|[^/]+)/(.+)", self.where)
        if self.where == "/api/whoami-v2":
            if not self.headers.get("Authorization"):
                return self._answer(401, {"error": "Invalid username or password."})
            return self._answer(200, {"type": "user", "name": "someone", "orgs": [], "auth": {"type": "access_token"}})
        if self.where == "/api/repos/create":
            made = json.loads(self.body)
            name = f"{made['organization']}/{made['name']}" if made.get("organization") else f"someone/{made['name']}"
            if ("model", name) not in self.hub.repositories:
                self.hub.add("model", name, {})
            return self._answer(200, {"url": f"{self.hub.endpoint}/{name}", "name": name})
        if self.where == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if self.where.endswith(".git/info/lfs/objects/batch"):
            return self._lfs_batch()
        if self.where.startswith("/lfs/"):
            self.hub.blobs[self.where.removeprefix("/lfs/")] = self.body
            return self._answer(200, {})
        if resolve:
            return self._file("dataset" if resolve[1] else "model", *resolve.groups()[1:])
        if api:
            return self._api("dataset" if api[1] == "datasets" else "model", *api.groups()[1:])
        raise AssertionError(self.where)

    def _api(self, kind: str, name: str, what: str | None, rest: str | None) -> None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            return self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        match = re.fullmatch(r"(refs/[^/]+/[^/]+|[^/]+)(?:/(.*))?", rest or "main")
        assert match
        revision, inside = match[1], match[2] or ""
        files, commit = repository.files(revision), repository.commit_of(revision)
        if files is None:
            return self._answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        if what in (None, "revision"):
            siblings = [{"rfilename": path} for path in files]
            return self._answer(
                200, {"_id": "1", "id": name, "sha": commit, "siblings": siblings, "tags": [], "private": False}
            )
        if what == "preupload":
            wanted = json.loads(self.body)["files"]
            chosen = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in wanted
            ]
            return self._answer(200, {"files": chosen})
        if what == "commit":
            return self._commit(repository, revision)
        entries = self._entries(files)
        if what == "paths-info":
            asked = parse_qs(self.body.decode())["paths"] if b"=" in self.body[:20] else json.loads(self.body)["paths"]
            return self._answer(200, [entry for entry in entries if entry["path"] in asked])
        recursive = "recursive" in self.query and self.query["recursive"][0].lower() == "true"
        below = [e for e in entries if not inside or e["path"].startswith(inside + "/")]
        if inside and not below:
            return self._answer(404, {"error": "not found"}, {"X-Error-Code": "EntryNotFound"})
        depth = inside.count("/") + (1 if inside else 0)
        return self._answer(200, [e for e in below if recursive or e["path"].count("/") == depth])

    @staticmethod
    def _entries(files: dict[str, bytes]) -> list[dict[str, Any]]:
        folders = {"/".join(path.split("/")[:n]) for path in files for n in range(1, path.count("/") + 1)}
        entries: list[dict[str, Any]] = [
            {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}
            for path in sorted(folders)
        ]
        for path, data in files.items():
            entries.append({"type": "file", "path": path, "oid": hashlib.sha1(data).hexdigest(), "size": len(data)})
        return entries

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            return self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        files = repository.files(revision)
        if files is None:
            return self._answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        commit = {"X-Repo-Commit": str(repository.commit_of(revision))}
        if path not in files:
            return self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", **commit})
        data = files[path]
        headers = {**commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(start[1]) if start else 0
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        cut = self.hub.fault == "truncate" and re.search(self.hub.only, f"GET {self.where}") and self.command == "GET"
        self._send(206 if first else 200, data[first:], headers, sent=len(data[first:]) // 2 if cut else None)

    def _lfs_batch(self) -> None:
        objects = [
            {"oid": o["oid"], "size": o["size"], "actions": {"upload": {"href": f"{self.hub.endpoint}/lfs/{o['oid']}"}}}
            for o in json.loads(self.body)["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": objects}, {"Content-Type": "application/vnd.git-lfs+json"})

    def _commit(self, repository: Repository, revision: str) -> None:
        for line in map(json.loads, self.body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repository.revisions[revision][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.revisions[revision][value["path"]] = self.hub.blobs[value["oid"]]
        commit = repository.commit_of(revision)
        url = f"{self.hub.endpoint}/{repository.name}/commit/{commit}"
        self._answer(200, {"commitUrl": url, "commitOid": commit, "success": True})

    def _answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, data: bytes, headers: dict[str, str], sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:sent])
        if sent is not None:
            self.wfile.flush()
            time.sleep(0.05)
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
