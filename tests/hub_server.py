"""A local server that speaks as much of the Hub's protocol as fetching a model needs, and its ways to fail."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PIECE = 2**16


@dataclass
class Repository:
    """One repository: files by path at one commit, and how the server answers for it."""

    files: dict[str, bytes]
    commit: str = "1234567890" * 4
    refs: tuple[str, ...] = ("main",)
    refusal: tuple[int, str] | None = None
    """Status and the Hub's error code for every request."""
    file_refusal: tuple[int, str] | None = None
    """The same for requests of files only: a gated repository is listed to everyone."""
    corrupt: tuple[str, ...] = ()
    """Files that are sent with one byte changed."""
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the connection ends, for each next request of a large file."""
    reset: bool = False
    """Whether it ends by a reset, as when a router fails, and not by closing."""
    garbage: bytes | None = None
    """What is sent instead of the listing."""
    stall: float = 0.0
    """Seconds before any answer."""
    pace: float = 0.0
    """Seconds between the pieces of a large file."""


@dataclass
class Hub:
    """The server's repositories, its address, the paths that were fetched (GET), and what Range each asked for."""

    repositories: dict[str, Repository]
    address: str = ""
    fetched: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    requests: int = 0


@contextmanager
def serving(repositories: dict[str, Repository]) -> Iterator[Hub]:
    """A running server; it ends with the block."""
    hub = Hub(repositories)

    class Handler(_Handler):
        state = hub

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def is_large(name: str) -> bool:
    """Kept apart from git, and known by its sha256."""
    return name.endswith(".safetensors")


class _Handler(http.server.BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

    def answer(self, *, body):
        self.state.requests += 1
        path = self.path.partition("?")[0].strip("/")
        parts = path.removeprefix("api/models/").split("/")
        repository = self.state.repositories.get("/".join(parts[:2]))
        if repository is None:
            return self.refuse((404, "RepoNotFound"))
        time.sleep(repository.stall)
        kind, revision, name = parts[2], parts[3], "/".join(parts[4:])
        refusal = repository.refusal or (repository.file_refusal if kind == "resolve" else None)
        if refusal:
            return self.refuse(refusal)
        if revision != repository.commit and revision not in repository.refs:
            return self.refuse((404, "RevisionNotFound"))
        if kind == "revision":
            return self.send_listing("/".join(parts[:2]), repository)
        if name not in repository.files:
            return self.refuse((404, "EntryNotFound"))
        return self.send_file(repository, name, body)

    def send_listing(self, name, repository):
        siblings = [self.sibling(path, content) for path, content in repository.files.items()]
        listing = json.dumps({"id": name, "sha": repository.commit, "siblings": siblings}).encode()
        content = listing if repository.garbage is None else repository.garbage
        self.send(200, content, {"Content-Type": "application/json"}, True)

    @staticmethod
    def sibling(path, content):
        found = {"rfilename": path, "size": len(content), "blobId": git_hash(content)}
        if is_large(path):
            found["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return found

    def send_file(self, repository, name, body):
        content = repository.files[name]
        tag = hashlib.sha256(content).hexdigest() if is_large(name) else git_hash(content)
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        if name in repository.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        end = repository.cuts.pop(0) if body and is_large(name) and repository.cuts else len(content)
        self.pace, self.reset = (repository.pace, repository.reset) if is_large(name) else (0.0, False)
        if body:  # counted last: a test that sees it may change what the next request gets
            self.state.fetched.append(name)
            self.state.ranges.append(self.headers["Range"])
        self.send(206 if start else 200, content[start:], headers, body, end - start)

    def refuse(self, refusal):
        status, code = refusal
        self.send(status, b"", {"X-Error-Code": code} if code else {}, False)

    pace, reset = 0.0, False

    def send(self, status, content, headers, body, end=None):
        """Sends the content up to its byte `end`; the connection breaks there if that isn't all of it."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        sent = memoryview(content if body else b"")[:end]
        try:
            for start in range(0, len(sent), PIECE):
                self.wfile.write(sent[start : start + PIECE])
                time.sleep(self.pace)
        except (BrokenPipeError, ConnectionResetError):  # the client was killed
            self.close_connection = True
        if end is not None and end < len(content):
            self.close_connection = True
            if self.reset:  # closing with nothing to linger for sends a reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

    def log_message(self, *args):
        """Keeps the tests' output clean."""
