"""The manifest: whole lines whatever kills its writer, the last row holds, one writer, one row a clip in the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cogvae_cli.errors import OutputError
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.manifest import Manifest, read_manifest
from cogvae_cli.io.work_folder import WorkFolder


def row(output: str, number: int = 0) -> dict[str, object]:
    return {"output": output, "number": number}


def test_rows_can_be_read_while_the_manifest_is_written(tmp_path):
    with Manifest(tmp_path / "m.jsonl") as manifest:
        for number in range(3):
            manifest.append(row(f"{number}.npz", number))
            assert [one["number"] for one in read_manifest(tmp_path / "m.jsonl")] == list(range(number + 1))


def test_the_last_row_about_an_output_holds(tmp_path):
    with Manifest(tmp_path / "m.jsonl") as manifest:
        manifest.append(row("a.npz", 1))
        manifest.append(row("b.npz", 2))
        manifest.append(row("a.npz", 3))
    with Manifest(tmp_path / "m.jsonl") as manifest:
        assert manifest.last("a.npz") == row("a.npz", 3)
        assert manifest.last("b.npz") == row("b.npz", 2)
        assert manifest.last("c.npz") is None
        manifest.append(row("c.npz", 4))
        assert manifest.last("c.npz") == row("c.npz", 4)


@pytest.mark.parametrize("keep", range(1, 40, 6))
def test_a_line_that_a_kill_tore_is_cut_off(keep, tmp_path):
    whole, torn = json.dumps(row("a.npz")) + "\n", json.dumps(row("b.npz", 5))
    (tmp_path / "m.jsonl").write_text(whole + torn[:keep])
    assert [one["output"] for one in read_manifest(tmp_path / "m.jsonl")] == ["a.npz"]
    with Manifest(tmp_path / "m.jsonl") as manifest:
        manifest.append(row("c.npz"))
    assert (tmp_path / "m.jsonl").read_text() == whole + json.dumps(row("c.npz")) + "\n"


def test_a_manifest_that_is_one_long_torn_line_becomes_empty(tmp_path):
    (tmp_path / "m.jsonl").write_text("x" * 200_000)
    with Manifest(tmp_path / "m.jsonl") as manifest:
        assert len(manifest) == 0
        assert (tmp_path / "m.jsonl").read_bytes() == b""
    assert not (tmp_path / "m.jsonl").exists()


def test_lines_that_a_crash_of_the_machine_spoilt_are_counted_and_dropped(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(json.dumps(row("a.npz")).encode() + b"\n" + b"\0" * 50 + b"\n{}\n")
    with Manifest(path) as manifest:
        assert manifest.unreadable == 2
        manifest.compact(tmp_path / "new")
    assert list(read_manifest(path)) == [row("a.npz")]
    assert path.read_bytes().count(b"\n") == 1


def test_compacting_leaves_one_row_a_clip_in_the_order_of_the_last_ones(tmp_path):
    with Manifest(tmp_path / "m.jsonl") as manifest:
        for number, name in enumerate("abacbd"):
            manifest.append(row(name, number))
        assert manifest.replaced == 2
        manifest.compact(tmp_path / "new")
    assert [(one["output"], one["number"]) for one in read_manifest(tmp_path / "m.jsonl")] == [
        ("a", 2),
        ("c", 3),
        ("b", 4),
        ("d", 5),
    ]


def test_only_one_batch_writes_to_a_manifest(tmp_path):
    with Manifest(tmp_path / "m.jsonl"), pytest.raises(OutputError, match="another batch is writing"):
        Manifest(tmp_path / "m.jsonl")
    with Manifest(tmp_path / "m.jsonl"):
        pass


def made(folder: Path, data: bytes) -> tuple[Path, dict[str, object]]:
    """A file in the work folder, and its row."""
    path = folder / "1.npz"
    path.write_bytes(data)
    return path, row("sub/a.npz") | {"output_bytes": len(data), "sha256": sha256_of(path)}


def test_a_process_that_stops_between_name_and_row_loses_neither(tmp_path):
    with Manifest(tmp_path / "m.jsonl") as manifest:
        work = WorkFolder(tmp_path, manifest)
        path, entry = made(work.path, b"latents")
        work.place(path, entry, overwrite=False)
    with Manifest(tmp_path / "m.jsonl") as manifest:
        WorkFolder(tmp_path, manifest).remove()
        assert list(read_manifest(manifest.path)) == [entry]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m.jsonl", "sub"]


def test_a_process_that_stops_after_the_row_leaves_one_row(tmp_path):
    with Manifest(tmp_path / "m.jsonl") as manifest:
        work = WorkFolder(tmp_path, manifest)
        path, entry = made(work.path, b"latents")
        work.place(path, entry, overwrite=False)
        manifest.append(entry)
    with Manifest(tmp_path / "m.jsonl") as manifest:
        WorkFolder(tmp_path, manifest)
        assert list(read_manifest(manifest.path)) == [entry]


@pytest.mark.parametrize("there", [None, b"another"])
def test_a_process_that_stops_before_the_name_leaves_no_row(there, tmp_path):
    with Manifest(tmp_path / "m.jsonl") as manifest:
        work = WorkFolder(tmp_path, manifest)
        _, entry = made(work.path, b"latents")
        (work.path / "pledge.json").write_text(json.dumps(entry))
        if there is not None:
            (tmp_path / "sub").mkdir()
            (tmp_path / "sub/a.npz").write_bytes(there)
        work.remove()
        assert len(manifest) == 0
    assert not list(tmp_path.glob(".*"))


def test_a_link_inside_the_output_folder_does_not_lead_out_of_it(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "sub").symlink_to(tmp_path / "elsewhere")
    with Manifest(out / "m.jsonl") as manifest:
        work = WorkFolder(out, manifest)
        path, entry = made(work.path, b"latents")
        with pytest.raises(OutputError, match="leads out of"):
            work.place(path, entry, overwrite=False)
        work.remove()
    assert not list((tmp_path / "elsewhere").iterdir())
