"""Fetching from a Hub that fails: one line, the exit code, and a cache that the next fetch can build on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hub_files import (
    COMMIT,
    CONFIG,
    PIPELINE,
    STEM,
    WEIGHTS,
    assert_failed,
    assert_whole,
    cogvae,
    environment,
    run_python,
)
from hub_server import Hub, Repository, serving
from safetensors.numpy import save

pytestmark = pytest.mark.processes

MIB = 2**20
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
LARGE = f"vae/{STEM}.safetensors"
FETCH = ["models", "download", "org/name", "--revision", COMMIT]


@pytest.fixture(scope="module")
def large() -> dict[str, bytes]:
    """A repository whose weights have more than two of the 10 MiB that huggingface_hub writes at once."""
    numbers = np.random.default_rng(4).standard_normal((25, 512, 512), np.float32)
    return {"vae/config.json": CONFIG, LARGE: save({"encoder.a": numbers})}


def fetch(hub: Hub, cache: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    return cogvae([*FETCH, *options], cache, HF_ENDPOINT=hub.address, **more)


def assert_fetched(done: subprocess.CompletedProcess[str], content: bytes) -> None:
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert Path(model["folder"], f"{STEM}.safetensors").read_bytes() == content


def test_a_connection_that_closes_midway_is_taken_up_where_the_written_bytes_end(large, tmp_path):
    repository = Repository(large, cuts=[15 * MIB])
    with serving({"org/name": repository}) as hub:
        done = fetch(hub, tmp_path, "--json")
        assert_fetched(done, large[LARGE])
        assert hub.fetched == ["vae/config.json", LARGE, LARGE]
        assert hub.ranges == [None, None, f"bytes={10 * MIB}-"]  # 5 MiB were received and not yet written
    first, second = done.stderr.splitlines()
    assert first.startswith("fetching org/name: the VAE of org/name at 123456789012")
    assert second.startswith("notice: Error while downloading")
    assert "Trying to resume download" in second
    assert_whole(tmp_path)


def test_a_connection_that_is_reset_ends_the_fetch_and_the_next_command_starts_from_zero(large, tmp_path):
    repository = Repository(large, cuts=[15 * MIB], reset=True)
    with serving({"org/name": repository}) as hub:
        assert_failed(fetch(hub, tmp_path), 1, "the Hub can't be reached to fetch org/name at 123456789012")
        assert_whole(tmp_path)
        assert_fetched(fetch(hub, tmp_path, "--json"), large[LARGE])
        assert hub.fetched == ["vae/config.json", LARGE, LARGE]  # the config of the first command is kept
        assert hub.ranges == [None, None, None]


def started(hub: Hub, cache: Path) -> subprocess.Popen[str]:
    """A fetch in the midst of the weights."""
    command = [sys.executable, "-m", "cogvae_cli", *FETCH]
    process = subprocess.Popen(
        command, env=environment(cache, HF_ENDPOINT=hub.address), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (LARGE in hub.fetched and list(cache.rglob("*.incomplete"))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_a_command_that_is_ended_midway_leaves_no_file_under_its_name(large, tmp_path):
    repository = Repository(large, pace=0.05)  # 20 s for the whole file
    with serving({"org/name": repository}) as hub:
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
            process = started(hub, tmp_path)
            os.kill(process.pid, number)
            begun = time.monotonic()
            _, told = process.communicate(timeout=60)
            assert process.returncode == code
            assert time.monotonic() - begun < 8
            assert told.splitlines()[-1].startswith("error: " if code > 0 else "fetching ")
            for left in tmp_path.rglob("*.incomplete"):
                assert number == signal.SIGKILL  # nobody takes what it leaves for the file
                left.unlink()
            assert_whole(tmp_path)
            hub.fetched.remove(LARGE)
        repository.pace, repository.cuts = 0, [15 * MIB]
        quiet = fetch(hub, tmp_path, "--json", "-q")
        assert_fetched(quiet, large[LARGE])
        assert quiet.stderr == ""
        assert hub.ranges[-2:] == [None, f"bytes={10 * MIB}-"]


def test_a_cached_file_that_is_damaged_is_refused_and_fetched_anew(tmp_path):
    with serving({"org/name": Repository(PIPELINE)}) as hub:
        assert_fetched(fetch(hub, tmp_path, "--json"), WEIGHTS)
        (blob,) = tmp_path.glob(f"models--org--name/blobs/{SHA256}")
        blob.write_bytes(WEIGHTS[:-1] + b"\x7f")
        offline = cogvae(FETCH, tmp_path, HF_HUB_OFFLINE="1")
        assert_failed(offline, 3, "not the one the Hub announced")
        assert "run the command again" in offline.stderr
        assert_whole(tmp_path)
        assert_fetched(fetch(hub, tmp_path, "--json"), WEIGHTS)


LOGIN, AWAY, AGAIN = "HF_TOKEN", "give `--model tiny` or a local path", "run the command again"
GATED = "NAME is gated, and this account has no access to it"
PAGE = b"<!DOCTYPE html>\n<html>Log in to this network</html>"
ELSEWHERE = b'{"id": "a/b", "sha": "../../x", "siblings": []}'
BROKEN = {
    "500": ({"refusal": (500, "")}, 1, "the Hub fails with 500 for NAME", AWAY),
    "501": ({"file_refusal": (501, "")}, 1, "the Hub fails with 501 for NAME", AWAY),
    "rate": ({"refusal": (429, "")}, 1, "the Hub fails with 429 for NAME", AWAY),
    "gated": ({"file_refusal": (403, "GatedRepo")}, 1, f"{GATED} (403)", LOGIN),
    "login": ({"file_refusal": (401, "GatedRepo")}, 1, f"{GATED} (401)", LOGIN),
    "private": ({"refusal": (401, "RepoNotFound")}, 1, "the Hub wants a login for NAME", LOGIN),
    "absent": ({"refusal": (404, "RepoNotFound")}, 3, "the Hub has no repository NAME", AWAY),
    "revision": ({"commit": "f" * 40}, 3, f"NAME has no revision '{COMMIT}'", "name a commit"),
    "page": ({"garbage": PAGE}, 1, "doesn't answer as the Hub does", AWAY),
    "list": ({"garbage": b"[]"}, 1, "doesn't answer as the Hub does", AWAY),
    "object": ({"garbage": b'{"siblings": 3}'}, 1, "doesn't answer as the Hub does", AWAY),
    "path": ({"garbage": ELSEWHERE}, 1, "names the commit '../../x'", AWAY),
    "stall": ({"stall": 5.0}, 1, "the Hub doesn't answer in time to fetch NAME", AWAY),
    "weights": ({"corrupt": (LARGE,)}, 3, f"not the one the Hub announced, {SHA256}", AGAIN),
    "config": ({"corrupt": ("vae/config.json",)}, 3, "config.json has the git hash", AGAIN),
}


# The command line itself, many times in one process, for most of a process' time goes into starting it.
ALL = """
import contextlib, io, json, sys
from cogvae_cli.cli.main import main
answers = {}
for name in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["models", "download", name, "--revision", sys.argv[2], "--json"])
    answers[name] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(answers))
"""


def fetch_all(hub: Hub, cache: Path) -> dict[str, subprocess.CompletedProcess[str]]:
    names = [f"org/{name}" for name in BROKEN]
    done = run_python(["-c", ALL, json.dumps(names), COMMIT], cache, HF_ENDPOINT=hub.address, HF_HUB_ETAG_TIMEOUT="3")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {name.removeprefix("org/"): subprocess.CompletedProcess([name], *said) for name, said in found.items()}


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, subprocess.CompletedProcess[str]]:
    """What the command says to each fault; afterwards the Hub is well, and the same cache takes all of it."""
    cache = tmp_path_factory.mktemp("hub")
    faulty = {f"org/{name}": dataclasses.replace(Repository(PIPELINE), **fault) for name, (fault, *_) in BROKEN.items()}
    with serving(faulty) as hub:
        told = fetch_all(hub, cache)
        assert_whole(cache)
        # Nothing large of a model whose config is damaged; of the others only what stood for the whole file.
        assert hub.fetched.count("vae/config.json") == 2
        assert hub.fetched.count(LARGE) == 1
        hub.repositories = dict.fromkeys(faulty, Repository(PIPELINE))
        for done in fetch_all(hub, cache).values():
            assert_fetched(done, WEIGHTS)
    return told


@pytest.mark.parametrize("name", BROKEN)
def test_a_hub_that_answers_wrongly_is_one_line_and_the_cache_stays_whole(answers, name):
    _, code, says, cure = BROKEN[name]
    assert_failed(answers[name], code, says.replace("NAME", f"org/{name}"))
    assert cure in answers[name].stderr.splitlines()[-1]


def test_no_network_is_told_at_once_for_a_refused_connection_and_an_unknown_host(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        begun = time.monotonic()
        for endpoint in (f"http://127.0.0.1:{taken.getsockname()[1]}", "http://hub.invalid"):
            assert_failed(cogvae(FETCH, tmp_path, HF_ENDPOINT=endpoint), 1, "the Hub can't be reached")
        assert time.monotonic() - begun < 30


def test_offline_the_cache_serves_commits_and_branches_and_nothing_else(tmp_path):
    branch = [*FETCH[:-1], "main"]
    assert_failed(cogvae(FETCH, tmp_path, HF_HUB_OFFLINE="1"), 1, "HF_HUB_OFFLINE forbids fetching it")
    with serving({"org/name": Repository(PIPELINE)}) as hub:
        assert cogvae(branch, tmp_path, HF_ENDPOINT=hub.address).returncode == 0
        count = hub.requests
        assert_fetched(fetch(hub, tmp_path, "--json"), WEIGHTS)
        assert hub.requests == count  # a commit that is cached whole needs no Hub
    assert_fetched(cogvae([*branch, "--json", "-q"], tmp_path, HF_HUB_OFFLINE="1"), WEIGHTS)
    away = cogvae([*branch, "--json"], tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert_fetched(away, WEIGHTS)
    assert f"taken from the cache is commit {COMMIT}" in away.stderr


def test_a_disk_that_is_full_or_no_folder_is_told_as_such(large, tmp_path):
    with serving({"org/name": Repository(large)}) as hub:
        command = ["sh", "-c", 'ulimit -f 20; exec "$@"', "sh", sys.executable, "-m", "cogvae_cli", *FETCH]
        done = subprocess.run(
            command,
            env=environment(tmp_path, HF_ENDPOINT=hub.address, PYTHONDONTWRITEBYTECODE="1"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert_failed(done, 1, f"the Hub's cache {tmp_path} can't be written: File too large")
        assert_whole(tmp_path)
        (tmp_path / "file").write_text("no folder")
        assert_failed(fetch(hub, tmp_path / "file"), 1, "can't be written: Not a directory")
        assert_fetched(fetch(hub, tmp_path, "--json"), large[LARGE])


def test_weights_in_the_store_that_repositories_share_are_known_by_the_name_in_between(tmp_path):
    """Files that came by Xet: the blob is a link to a file that is named by another kind of hash."""
    storage, stored = tmp_path / "models--org--name", tmp_path / "blobs" / "ab" / ("ab" * 32)
    blob = storage / "blobs" / SHA256
    link = storage / "snapshots" / COMMIT / LARGE
    for folder in (stored.parent, blob.parent, link.parent):
        folder.mkdir(parents=True)
    stored.write_bytes(WEIGHTS)
    blob.symlink_to(Path("..", "..", "blobs", "ab", stored.name))
    link.symlink_to(Path("..", "..", "..", "blobs", blob.name))
    (link.parent / "config.json").write_bytes(CONFIG)
    assert_fetched(cogvae([*FETCH, "--json"], tmp_path, HF_HUB_OFFLINE="1"), WEIGHTS)
    stored.write_bytes(WEIGHTS + b"\0")
    assert_failed(cogvae(FETCH, tmp_path, HF_HUB_OFFLINE="1"), 3, "not the one the Hub announced")
    assert not [path for path in (link, blob, stored) if path.is_symlink() or path.exists()]


def test_a_terminal_sees_megabytes(large, tmp_path):
    with serving({"org/name": Repository(large)}) as hub:
        parent, child = os.openpty()
        termios.tcsetwinsize(child, (24, 100))
        drawn: list[bytes] = []

        def read() -> None:
            try:
                while True:
                    drawn.append(os.read(parent, 4096))
            except OSError:  # the other end is closed
                return

        reader = threading.Thread(target=read)
        reader.start()
        command = [sys.executable, "-m", "cogvae_cli", *FETCH]
        more = environment(tmp_path, HF_ENDPOINT=hub.address)
        done = subprocess.run(command, env=more, stdout=subprocess.PIPE, stderr=child, check=False)
        os.close(child)
        reader.join()
        os.close(parent)
    assert done.returncode == 0
    assert b"/26 [" in b"".join(drawn)
    assert b" MB/s" in b"".join(drawn) or b"s/ MB" in b"".join(drawn)
