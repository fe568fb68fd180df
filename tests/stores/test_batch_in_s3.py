"""A batch from a bucket into a bucket, on a server of this machine that speaks S3."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import fsspec
import pytest
from batch_runs import command, json_lines, looks, names_below, send, start, values_of, write_clips

from cogvae_cli.io.manifest import read_manifest

pytestmark = pytest.mark.stores

GOOD = {f"{'ab'[n % 2]}/{n:02}.mp4": 9 for n in range(8)}
ENCODE = ("encode", "--model", "tiny", "-r")
PORT = 5781


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """An empty bucket; what finds it is in the environment, so that the batch's processes do too."""
    log = (tmp_path_factory.mktemp("s3") / "server.log").open("wb")
    server = subprocess.Popen([Path(sys.executable).parent / "moto_server", "-p", str(PORT)], stdout=log, stderr=log)
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "one")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "two")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("FSSPEC_S3_ENDPOINT_URL", f"http://127.0.0.1:{PORT}")
    try:
        _wait_for(f"http://127.0.0.1:{PORT}/moto-api/")
        system = fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{PORT}")
        system.mkdir("bucket")
        yield system
    finally:
        patch.undo()
        server.terminate()
        server.wait()
        log.close()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


@pytest.fixture(scope="module")
def clips(bucket, tmp_path_factory) -> Path:
    """Good clips and a bad one, here and in the bucket, and what a batch makes of them on a disk."""
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder / "clips", GOOD)
    (folder / "clips/a/bad.mp4").write_bytes(b"no video")
    bucket.put(str(folder / "clips"), "bucket/clips", recursive=True)
    done = subprocess.run(command(*ENCODE, folder / "clips", "--out-dir", folder / "reference", "-q"), check=False)
    assert done.returncode == 1
    return folder


def fetched(bucket, folder: Path) -> Path:
    """All that is in the bucket's `out`, as files."""
    bucket.invalidate_cache()
    for name in bucket.find("bucket/out"):
        path = folder / name.removeprefix("bucket/out/")
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket.get_file(name, str(path))
    return folder


def test_a_batch_goes_from_a_bucket_into_one_is_stopped_and_goes_on_on_another_machine(bucket, clips, tmp_path):
    arguments = [*ENCODE, "s3://bucket/clips", "--out-dir", "s3://bucket/out", "--json"]
    process = start(tmp_path, *arguments)
    next(None for _ in looks(process, pause=0.05) if len(bucket.find("bucket/out", refresh=True)) >= 3)
    send(signal.SIGTERM, process.pid)
    assert process.wait(20) == 143
    environment = os.environ | {"COGVAE_CACHE": str(tmp_path / "another")}  # which knows nothing of the first one
    again = subprocess.run(command(*arguments), env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stderr
    summary = json_lines(again.stdout)[-1]
    assert (summary["out_dir"], summary["failures"]) == ("s3://bucket/out", "s3://bucket/out/failed.jsonl")
    out = fetched(bucket, tmp_path / "out")
    assert values_of(out) == values_of(clips / "reference")
    assert names_below(out) == names_below(clips / "reference")
    rows = {row["output"]: row for row in read_manifest(out / "manifest.jsonl")}
    assert {name for name, row in rows.items() if row["status"] == "done"} == set(values_of(out))
    assert {name for name, row in rows.items() if row["status"] == "failed"} == {"a/bad.npz"}

    third = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    statuses = [row["status"] for row in json_lines(third.stdout)[:-1]]
    assert sorted(statuses) == ["failed"] + ["skipped"] * len(GOOD)


def test_an_output_that_was_lost_or_is_another_is_seen(bucket, clips, tmp_path):
    arguments = [*ENCODE, clips / "clips", "--out-dir", "s3://bucket/other", "--json"]
    assert subprocess.run(command(*arguments), capture_output=True, check=False).returncode == 1
    bucket.invalidate_cache()
    bucket.rm_file("bucket/other/a/00.npz")
    bucket.pipe_file("bucket/other/b/01.npz", b"something else")
    again = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    rows = {row["output"]: row for row in json_lines(again.stdout)[:-1]}
    assert rows["a/00.npz"]["status"] == "done"
    assert rows["b/01.npz"]["status"] == "failed"
    assert "it isn't as it was written" in rows["b/01.npz"]["error"]
    anew = subprocess.run(command(*arguments, "--skip-existing"), capture_output=True, text=True, check=False)
    rows = {row["output"]: row["status"] for row in json_lines(anew.stdout)[:-1]}
    assert rows["b/01.npz"] == "done"
    assert list(rows.values()).count("skipped") == len(GOOD) - 1


def test_parts_of_a_batch_on_different_machines_are_merged(bucket, tmp_path):
    clips = write_clips(tmp_path / "clips", {f"{number}.mp4": 18 for number in range(4)})
    arguments = [*ENCODE, clips, "--out-dir", "s3://bucket/parts", "--window", "all", "--frames", "9", "-q"]
    for part in ("0/2", "1/2", None):
        shard = [] if part is None else ["--shard", part]
        environment = os.environ | {"COGVAE_CACHE": str(tmp_path / f"machine{part}".replace("/", "-"))}
        assert subprocess.run(command(*arguments, *shard), env=environment, check=False).returncode == 0
        bucket.invalidate_cache()
        names = {name.removeprefix("bucket/parts/") for name in bucket.find("bucket/parts")}
        manifests = {name for name in names if name.startswith("manifest")}
        wanted = {"0/2": {"manifest-0-of-2.jsonl"}, "1/2": {"manifest-0-of-2.jsonl", "manifest-1-of-2.jsonl"}}
        assert manifests == wanted.get(part, {"manifest.jsonl"})
    assert names - manifests == {f"{number}-{start}.npz" for number in range(4) for start in ("000000", "000009")}
    bucket.get_file("bucket/parts/manifest.jsonl", str(tmp_path / "manifest.jsonl"))
    rows = list(read_manifest(tmp_path / "manifest.jsonl"))
    assert {row["output"] for row in rows if row["status"] == "done"} == names - manifests
