"""A local server that speaks as much of the Hub's protocol as fetching a model needs, and its ways to fail."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Repository:
    """One repository: files by path at one commit, and how the server answers for it."""

    files: dict[str, bytes]
    commit: str = "1234567890" * 4
    refs: tuple[str, ...] = ("main",)
    refusal: tuple[int, str] | None = None
    """Status and the Hub's error code for every request."""
    corrupt: tuple[str, ...] = ()
    """Files that are sent with one byte changed."""


@dataclass
class Hub:
    """The server's repositories, its address, and the paths that were fetched (GET)."""

    repositories: dict[str, Repository]
    address: str = ""
    fetched: list[str] = field(default_factory=list)


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


class _Handler(http.server.BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

    def answer(self, *, body):
        path = self.path.partition("?")[0].strip("/")
        parts = path.removeprefix("api/models/").split("/")
        repository = self.state.repositories.get("/".join(parts[:2]))
        if repository is None:
            return self.send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)
        if repository.refusal:
            status, code = repository.refusal
            return self.send(status, b"", {"X-Error-Code": code} if code else {}, body)
        kind, revision, name = parts[2], parts[3], "/".join(parts[4:])
        if revision != repository.commit and revision not in repository.refs:
            return self.send(404, b"", {"X-Error-Code": "RevisionNotFound"}, body)
        if kind == "revision":
            return self.send_json({"id": "/".join(parts[:2]), "sha": repository.commit, "siblings": []})
        if kind == "tree":
            return self.send_json([self.entry(name, content) for name, content in repository.files.items()])
        if name not in repository.files:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
        if body:
            self.state.fetched.append(name)
        return self.send_file(repository, name, body)

    @staticmethod
    def entry(name, content):
        found = {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        if name.endswith(".safetensors"):
            found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return found

    def send_file(self, repository, name, body):
        content = repository.files[name]
        hashing = hashlib.sha256 if name.endswith(".safetensors") else hashlib.sha1
        headers = {"ETag": f'"{hashing(content).hexdigest()}"', "X-Repo-Commit": repository.commit}
        if name in repository.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send(200, content, headers, body)

    def send_json(self, value):
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"}, True)

    def send(self, status, content, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args):
        """Keeps the tests' output clean."""
