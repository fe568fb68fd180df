"""Sources with a URL: fsspec's file system in memory, and its local one where another process has to read."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from batch_runs import write_clips

from cogvae_cli.errors import CogvaeError, InputError, UsageError
from cogvae_cli.io.fingerprint import sha256_of, source_sha256, stamp_of
from cogvae_cli.io.latents import read_header
from cogvae_cli.io.listing import VIDEOS, ListOptions, list_clips
from cogvae_cli.io.remote import fetch
from cogvae_cli.pipeline.batch_clips import maker_for
from cogvae_cli.pipeline.batch_messages import Job, Task
from cogvae_cli.pipeline.encode import EncodeOptions
from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.turns import Surroundings

BUCKET = "memory:///bucket"


@pytest.fixture
def bucket(tmp_path):
    """A tree in memory: two clips and things that are none."""
    system = fsspec.filesystem("memory")
    write_clips(tmp_path / "clips", {"one.mp4": 9})
    for name in ("a/one.mp4", "a/deep/two.mp4"):
        system.pipe(f"/bucket/{name}", (tmp_path / "clips/one.mp4").read_bytes())
    system.pipe("/bucket/a/notes.txt", b"words")
    system.pipe("/bucket/a/.hidden.mp4", b"hidden")
    system.pipe("/bucket/broken.mp4", b"no video")
    yield system
    system.rm("/bucket", recursive=True)


def listed(*inputs: str | Path, **options) -> list[tuple[str, str]]:
    clips = list_clips([str(one) for one in inputs], ListOptions(VIDEOS, "encode", **options))
    return [(clip.source, clip.relative) for clip in clips]


def test_a_url_can_be_a_file_a_folder_or_a_pattern(bucket):
    one, two = f"{BUCKET}/a/one.mp4", f"{BUCKET}/a/deep/two.mp4"
    assert listed(one) == [(one, "one.mp4")]
    assert listed(f"{BUCKET}/a") == [(one, "one.mp4")]
    assert listed(f"{BUCKET}/a", recursive=True) == [(one, "one.mp4"), (two, "deep/two.mp4")]
    assert listed(f"{BUCKET}/a/*/t*.mp4") == [(two, "deep/two.mp4")]


def test_a_list_can_hold_urls(bucket, tmp_path):
    (tmp_path / "list.txt").write_text(f"{BUCKET}/a/deep/two.mp4\n")
    assert listed(tmp_path / "list.txt") == [(f"{BUCKET}/a/deep/two.mp4", "two.mp4")]
    assert listed(tmp_path / "list.txt", root=BUCKET) == [(f"{BUCKET}/a/deep/two.mp4", "a/deep/two.mp4")]
    with pytest.raises(UsageError, match="is not below"):
        listed(tmp_path / "list.txt", root="memory://other")


def test_a_file_counts_as_changed_by_what_its_store_says_of_it(bucket):
    url = f"{BUCKET}/a/one.mp4"
    before = stamp_of(url)
    assert before == stamp_of(url)
    assert before["source_version"]
    bucket.pipe("/bucket/a/one.mp4", b"another")
    assert stamp_of(url) != before


def test_bytes_are_those_of_the_file(bucket, tmp_path):
    url = f"{BUCKET}/a/one.mp4"
    copy = fetch(url, tmp_path / "copy")
    assert copy.name == "one.mp4"
    assert copy.read_bytes() == (tmp_path / "clips/one.mp4").read_bytes()
    assert source_sha256(url) == sha256_of(copy)


@pytest.mark.parametrize("work", [stamp_of, source_sha256])
def test_a_url_where_nothing_is_is_told(work):
    with pytest.raises(InputError, match=r"memory:///bucket/none\.mp4: no such file"):
        work(f"{BUCKET}/none.mp4")


def test_a_url_of_an_unknown_kind_is_told():
    with pytest.raises(UsageError, match="nowhere://x/clip"):
        listed("nowhere://x/clip.mp4", "nowhere://x/")


def test_a_worker_fetches_a_clip_and_leaves_no_copy(bucket, tmp_path):
    maker = maker_for(Job("encode", "tiny", EncodeOptions(), tmp_path / "work", ".npz", 1), Progress())
    (tmp_path / "work").mkdir()
    ((made, facts, _),) = maker.make(Task(7, f"{BUCKET}/a/one.mp4"), Surroundings())
    source = read_header(made)[0].source
    assert (source.name, source.sha256) == ("one.mp4", facts["source_sha256"])
    assert {name: facts[name] for name in ("source_bytes", "source_version")} == stamp_of(f"{BUCKET}/a/one.mp4")
    with pytest.raises(CogvaeError, match=r"^memory:///bucket/broken\.mp4: is not a video"):
        next(maker.make(Task(8, f"{BUCKET}/broken.mp4"), Surroundings()))
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["7.npz"]
