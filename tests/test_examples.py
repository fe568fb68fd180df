"""The scripts in examples/ run as they stand, and do what they say."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from media import write_numbered

from cogvae_cli.io.latents import LatentsReader
from cogvae_cli.io.video_reader import VideoReader

SIZE = (64, 48)


@pytest.fixture
def run(root, monkeypatch, capsys):
    """Runs a script by its name, as from a shell; gives what it printed."""

    def run_it(name: str, *arguments: str | Path) -> str:
        script = root / "examples" / name
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return run_it


def test_a_clip_goes_through_and_back(run, tmp_path):
    out = run("library_roundtrip.py", write_numbered(tmp_path / "in.mp4", 17, SIZE), "tiny")
    assert "17 frames of 64x48 through tiny" in out
    assert re.search(r"PSNR \d\d\.\d\d dB, SSIM 0\.\d{4}", out)
    assert 0 <= int(re.search(r"worst frame: (\d+)", out)[1]) < 17


def test_latents_of_a_folder_are_cached_once(run, tmp_path, capsys):
    videos = tmp_path / "videos"
    videos.mkdir()
    write_numbered(videos / "a.mp4", 9, SIZE)
    write_numbered(videos / "a.mkv", 5, SIZE)
    (videos / "broken.mp4").write_bytes(b"no video")
    (videos / "notes.txt").write_text("not a video, and not meant as one")
    assert len(run("cache_latents.py", videos, tmp_path / "latents", "tiny").splitlines()) == 2
    files = sorted((tmp_path / "latents").iterdir())
    assert [path.name for path in files] == ["a.mkv.safetensors", "a.mp4.safetensors"]
    with LatentsReader(files[1]) as reader:
        assert (reader.header.scaled, reader.header.dtype, reader.header.frames.count) == (True, "bfloat16", 9)
    times = [path.stat().st_mtime_ns for path in files]
    write_numbered(videos / "b.mp4", 9, SIZE)
    assert "b.mp4.safetensors" in run("cache_latents.py", videos, tmp_path / "latents", "tiny")
    assert [path.stat().st_mtime_ns for path in files] == times


def test_a_long_video_streams(run):
    out = run("stream_long_video.py", "41")
    frames, error = re.search(r"(\d+) frames, mean error of the worst chunk ([\d.]+)", out).groups()
    assert int(frames) == 41
    assert 0 < float(error) < 0.4  # measured 0.22


def test_latents_go_to_diffusers_and_back(run, tmp_path):
    video = write_numbered(tmp_path / "in.mp4", 9, SIZE)
    out = run("latents_for_diffusers.py", video, "tiny")
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "in.npz", "in.pt", "in.back.mp4"}
    assert "in.back.mp4: 9 frames" in out
    with VideoReader(tmp_path / "in.back.mp4") as reader:
        frames = np.stack(list(reader.frames()))
    assert frames.shape == (9, 48, 64, 3)
    assert frames.std() > 20


def test_every_example_is_told_of_and_has_a_test(root):
    scripts = {path.name for path in (root / "examples").glob("*.py")}
    told = set(re.findall(r"\(([\w]+\.py)\)", (root / "examples" / "README.md").read_text()))
    assert scripts == told
    tests = Path(__file__).read_text() + (root / "tests" / "ray" / "test_batch_on_ray.py").read_text()
    assert all(f'"{name}"' in tests for name in scripts)
