"""Outputs in a store: fsspec's file system in memory, which can rename, and one that can't, as object stores."""

from __future__ import annotations

import fsspec
import pytest

from cogvae_cli.errors import OutputError, OutputExistsError
from cogvae_cli.io import store as stores
from cogvae_cli.io.store import Store


@pytest.fixture(params=["renaming", "objects"])
def store(request, monkeypatch):
    if request.param == "objects":
        monkeypatch.setattr(stores, "_RENAMING", ())
    yield Store("memory:///kept/")
    fsspec.filesystem("memory").rm("/kept", recursive=True)


def contents() -> dict[str, bytes]:
    system = fsspec.filesystem("memory")
    return {name.removeprefix("/kept/"): system.cat_file(name) for name in system.find("/kept")}


def test_a_file_is_put_whole_and_nothing_else_is_left(store, tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    store.put(tmp_path / "a", "deep/er/a.npz", overwrite=False)
    assert contents() == {"deep/er/a.npz": b"one"}
    assert store.has("deep/er/a.npz")
    assert not store.has("deep")
    assert store.stamp("deep/er/a.npz")["output_bytes"] == 3
    assert store.stamp("b.npz") is None


def test_the_same_bytes_are_no_fault_and_others_need_leave(store, tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    store.put(tmp_path / "a", "a.npz", overwrite=False)
    before = store.stamp("a.npz")
    store.put(tmp_path / "a", "a.npz", overwrite=False)
    assert store.stamp("a.npz") == before
    (tmp_path / "a").write_bytes(b"two")
    with pytest.raises(OutputExistsError, match=r"memory:///kept/a\.npz: exists already, with other bytes"):
        store.put(tmp_path / "a", "a.npz", overwrite=False)
    assert contents() == {"a.npz": b"one"}
    store.put(tmp_path / "a", "a.npz", overwrite=True)
    assert contents() == {"a.npz": b"two"}
    assert store.stamp("a.npz") != before


def test_files_are_found_brought_back_and_taken_away(store, tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    for name in ("manifest-1-of-2.jsonl", "manifest-0-of-2.jsonl", "a/manifest-0-of-1.jsonl"):
        store.put(tmp_path / "a", name, overwrite=False)
    assert store.names("manifest-*-of-*.jsonl") == ["manifest-0-of-2.jsonl", "manifest-1-of-2.jsonl"]
    assert store.get("manifest-0-of-2.jsonl", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"one"
    assert not store.get("none", tmp_path / "c")
    assert not (tmp_path / "c").exists()
    store.remove("manifest-0-of-2.jsonl")
    store.remove("manifest-0-of-2.jsonl")
    assert store.names("manifest-*") == ["manifest-1-of-2.jsonl"]


def test_a_store_that_fails_is_told_of_and_leaves_nothing(store, tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"one")
    system = type(fsspec.filesystem("memory"))
    store.put(tmp_path / "a", "b.npz", overwrite=False)

    def broken(*arguments, **options):
        raise ConnectionError("the line is dead")

    monkeypatch.setattr(system, "put_file", broken)
    with pytest.raises(OutputError, match=r"memory:///kept/a\.npz: can't be written \(ConnectionError: the line is"):
        store.put(tmp_path / "a", "a.npz", overwrite=False)
    assert contents() == {"b.npz": b"one"}
