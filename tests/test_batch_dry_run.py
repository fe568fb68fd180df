"""A dry run of a batch tells what the batch would do, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cogvae_cli.cli.main import main


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """Names of clips: a dry run opens none."""
    monkeypatch.chdir(tmp_path)
    for name in ("clips/a.mp4", "clips/more/b.mkv", "clips/more/c.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never opened")
    return tmp_path


def told(capsys, *arguments: str) -> dict:
    assert main(["encode", "clips/", "--model", "tiny", "--out-dir", "out", "--dry-run", "--json", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_clips_are_counted_and_named(here, capsys):
    plan = told(capsys, "--recursive")
    assert (plan["kind"], plan["job"], plan["clips"], plan["to_make"]) == ("dry-run", "encode", 3, 3)
    assert plan["first"] == "a.mp4 -> a.npz; more/b.mkv -> more/b.npz; more/c.mp4 -> more/c.npz"
    assert plan["model"] == "tiny, built in"
    assert told(capsys)["clips"] == 1
    assert told(capsys, "--recursive", "--flip")["clips"] == 6
    parts = [told(capsys, "--recursive", "--shard", f"{index}/2")["clips"] for index in range(2)]
    assert sum(parts) == 3
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("options", "fate"), [([], "in the way"), (["--skip-existing"], "anew"), (["-y"], "made anew")]
)
def test_outputs_that_are_there_are_counted(here, capsys, options, fate):
    output = here / "out" / "more" / "b.npz"
    output.parent.mkdir(parents=True)
    output.write_bytes(b"old")
    plan = told(capsys, "--recursive", *options)
    assert (plan["clips"], plan["to_make"], plan["there_already"]) == (3, 2, 1)
    assert plan["which_are"].endswith(fate)
    assert [path for path in (here / "out").rglob("*") if path.is_file()] == [output]


def test_outputs_in_shards_are_counted_by_the_manifest(here, capsys):
    (here / "out").mkdir()
    row = {"kind": "encode", "status": "done", "output": "a.npz", "shard": "shard-000000.tar"}
    (here / "out" / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    assert told(capsys, "--recursive", "--shards", "10")["there_already"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["encode", "nothing/"], 3, "nothing"),
        (["encode", "clips/a.mp4", "clips/a.mp4"], 2, "named twice"),
        (["encode", "clips/", "--model", "no-such-model"], 3, "no-such-model"),
        (["decode", "clips/a.mp4", "--format", "png"], 2, "png"),
    ],
)
def test_it_fails_as_the_batch_would(here, capsys, arguments, code, says):
    assert main([*arguments, "--out-dir", "out", "--dry-run"]) == code
    assert says in capsys.readouterr().err
    assert not (here / "out").exists()


def test_on_a_terminal_it_is_a_table(here, capsys):
    assert main(["encode", "clips/", "--model", "tiny", "--out-dir", "out", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "dry run: nothing is written"
    assert "clips          1" in lines


def test_videos_that_are_cut_are_counted_as_videos(here, capsys):
    plan = told(capsys, "--recursive", "--window", "all", "--frames", "9", "--posterior", "moments")
    assert (plan["videos_to_cut"], plan["begun_already"]) == (3, 0)
    assert plan["first"].startswith("a.mp4 -> a-000000.npz")
    assert not (here / "out").exists()


def test_a_store_may_be_empty(here, capsys, monkeypatch):
    monkeypatch.setenv("COGVAE_CACHE", str(here / "cache"))
    plan = told(capsys, "--recursive", "--out-dir", "memory://bucket/latents")
    assert (plan["into"], plan["clips"], plan["to_make"]) == ("memory://bucket/latents", 3, 3)
    assert not (here / "cache" / "batches").exists()
