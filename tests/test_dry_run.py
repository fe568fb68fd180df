"""Dry runs: what would be done is said, what would fail fails, and nothing is written, fetched or compiled."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from media import Coding, write_numbered

from cogvae_cli.cli.main import main


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dry")
    return write_numbered(folder / "in.mkv", 13, (64, 45), Fraction(24000, 1001), Coding(pix_fmt="yuv444p"))


@pytest.fixture(scope="module")
def latents(clip) -> Path:
    path = clip.with_name("z.npz")
    assert main(["encode", str(clip), "-o", str(path), "--model", "tiny", "-q"]) == 0
    return path


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder, which has to stay empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COGVAE_MODEL", raising=False)
    return tmp_path


def told(command: list[str], capsys) -> dict:
    assert main([*command, "--dry-run", "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_encode_tells_frames_latents_and_the_model(clip, here, capsys):
    plan = told(["encode", str(clip), "-o", "out.npz", "--tile", "40x48", "--posterior", "moments"], capsys)
    assert (plan["kind"], plan["job"]) == ("dry-run", "encode")
    assert plan["frames"].endswith("of 64x45 at 24000/1001 frames/s")
    assert plan["tiles"] == "2x1 of 40x48, uniform"
    assert plan["stored"] == "moments in float32, npz"
    assert plan["model"].startswith("cogvideox-2b, ")
    assert plan["model"].endswith("would be fetched from the Hub")
    assert plan["outputs"] == [{"path": "out.npz", "exists": False}]
    assert list(here.iterdir()) == []


def test_padding_is_told_where_headers_tell_the_count(here, tmp_path_factory, capsys):
    clip = write_numbered(tmp_path_factory.mktemp("mp4") / "in.mp4", 13, (64, 48))
    plan = told(["encode", str(clip), "-o", "out.npz", "--model", "tiny"], capsys)
    assert plan["encoded"] == "17 frames of 64x48"
    assert plan["latents"] == "5 frames of 8x6"
    plan = told(["encode", str(clip), "-o", "out.npz", "--model", "tiny", "--frames-policy", "trim"], capsys)
    assert plan["encoded"] == "9 frames of 64x48"
    assert plan["model"] == "tiny, built in"


def test_decode_tells_the_video(latents, here, capsys):
    plan = told(["decode", str(latents), "-o", "out.mkv", "--codec", "ffv1"], capsys)
    assert plan["frames"] == "13 of 64x45 at 24000/1001 frames/s"
    assert plan["latents"] == "5 frames of 8x6, 16 channels"
    assert plan["container"] == "mkv, FFV1"
    assert plan["model"] == "tiny, built in"
    assert list(here.iterdir()) == []


def test_roundtrip_tells_the_report(clip, here, capsys):
    plan = told(["roundtrip", str(clip), "--model", "tiny", "--report", "-o", "back.mp4"], capsys)
    assert [output["path"] for output in plan["outputs"]] == ["back.mp4", "in.report.html", "in.report.json"]
    assert told(["roundtrip"], capsys)["model"] == "tiny, built in"
    assert list(here.iterdir()) == []


def test_convert_tells_the_form(latents, here, capsys):
    plan = told(["convert", str(latents), "-o", "out.pt", "--format", "diffusers"], capsys)
    assert (plan["container"], plan["model"]) == ("diffusers", "tiny")
    assert any("with the padding" in notice for notice in plan["notices"])
    assert list(here.iterdir()) == []


def test_for_people_it_is_a_table(clip, here, capsys):
    (here / "out.npz").write_text("old")
    assert main(["encode", str(clip), "-o", "out.npz", "--model", "tiny", "--dry-run", "-q", "-y"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "dry run: nothing is written"
    assert lines[-1] == "would write  out.npz, in place of the one that is there"
    assert (here / "out.npz").read_text() == "old"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["encode", "CLIP", "-o", "taken.npz"], 4, "exists already"),
        (["encode", "none.mp4", "-o", "out.npz"], 3, "none.mp4"),
        (["encode", "CLIP", "-o", "out.npz", "--model", "tinny"], 3, "did you mean tiny"),
        (["encode", "CLIP", "-o", "out.npz", "--tile", "41x48"], 2, "41"),
        (["encode", "CLIP", "-o", "out.npz", "--posterior", "moments", "--scaled"], 2, "never scaled"),
        (["decode", "LATENTS", "-o", "out.webm", "--codec", "h264"], 2, "H.264"),
        (["decode", "LATENTS", "-o", "out.mp4", "--revision", "main"], 2, "revision"),
        (["decode", "LATENTS", "-o", "taken.mp4"], 4, "exists already"),
        (["roundtrip", "CLIP", "--report-out", "taken.html"], 4, "exists already"),
        (["roundtrip", "CLIP", "--report-out", "r.pdf"], 2, ".html or .json"),
        (["convert", "LATENTS", "-o", "out.pt"], 2, "format"),
        (["convert", "LATENTS", "-o", "taken.npz"], 4, "exists already"),
    ],
)
def test_what_the_job_would_refuse_is_refused(command, code, words, clip, latents, here, capsys):
    for name in ("taken.npz", "taken.mp4", "taken.html"):
        (here / name).write_text("mine")
    names = {"CLIP": str(clip), "LATENTS": str(latents)}
    arguments = [names.get(word, word) for word in command]
    assert main([*arguments, "--dry-run", "-q"]) == code
    assert words in capsys.readouterr().err.splitlines()[0]
    without = (
        arguments if "--model" in arguments or command[0] in ("decode", "convert") else [*arguments, "--model", "tiny"]
    )
    assert main([*without, "-q"]) == code  # and so would the job itself
    assert len(list(here.iterdir())) == 3
