"""The main job, by the command: a clip becomes latents, the latents become the clip again."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from by_hand import decoded_by_hand, frames_of
from main_job import assert_same_video, decode, encode, there_and_back
from media import Coding, write_numbered

from cogvae_cli import load
from cogvae_cli.cli.main import main
from cogvae_cli.io.latents import read_latents
from cogvae_cli.model import programs
from cogvae_cli.model.vae import decode_step, encode_step

LATENTS_TOLERANCE = 1e-6


def nearest(frame: np.ndarray, candidates: np.ndarray) -> int:
    """Index of the candidate [T H W 3] that looks most like a frame."""
    return int(np.abs(candidates.astype(np.int16) - frame).mean(axis=(1, 2, 3)).argmin())


@pytest.mark.parametrize("frames", [1, 2, 5, 8, 9, 13, 16, 17, 49, 50])
def test_as_many_frames_come_back_in_the_same_order(frames, tmp_path):
    """By the numbers on the frames, and, as the built-in model smears motion, each held against what it makes of it."""
    clip = write_numbered(tmp_path / "in.mp4", frames, (64, 48), Fraction(30000, 1001))
    video = there_and_back(clip)
    assert_same_video(video, frames, (64, 48), Fraction(30000, 1001))
    expected = decoded_by_hand(frames_of(clip))
    assert [nearest(frame, expected) for frame in frames_of(video)] == list(range(frames))


def test_a_clip_of_any_8k_plus_1_frames_comes_back_by_two_programs_a_direction(tmp_path):
    """At a size at which nothing else in this process computes; tests/long/test_sizes.py takes the common ones."""
    before = set(programs.ready()), encode_step._cache_size(), decode_step._cache_size()
    for frames in (9, 25):
        clip = write_numbered(tmp_path / f"{frames}.mov", frames, (80, 64), 24)
        video = there_and_back(clip, latents=f"{frames}.npz", video=f"{frames}-out.mov")
        assert_same_video(video, frames, (80, 64), Fraction(24))
    new = set(programs.ready()) - before[0]
    assert sorted((program.network.part, program.later) for program in new) == [
        ("decoder", False),
        ("decoder", True),
        ("encoder", False),
        ("encoder", True),
    ]
    assert (encode_step._cache_size(), decode_step._cache_size()) == before[1:]  # nothing compiles besides


def test_a_height_that_is_no_multiple_of_8_comes_back_as_it_was(tmp_path):
    clip = write_numbered(tmp_path / "in.mkv", 1, (720, 405), 24, Coding(pix_fmt="yuv444p"))
    assert_same_video(there_and_back(clip, video="out.mkv"), 1, (720, 405), Fraction(24))


def test_two_runs_write_the_same_bytes(tmp_path):
    clip = write_numbered(tmp_path / "in.mp4", 17, (64, 48), Fraction(25))
    for run in ("a", "b"):
        there_and_back(clip, latents=f"{run}.npz", video=f"{run}.mp4")
        encode(clip, tmp_path / f"{run}.safetensors", "--store-dtype", "bfloat16", "--scaled")
    for suffix in ("npz", "safetensors", "mp4"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_the_commands_latents_are_those_of_the_api(tmp_path):
    clip = write_numbered(tmp_path / "in.mp4", 9, (64, 48), Fraction(25))
    encode(clip, tmp_path / "z.npz")
    frames = frames_of(clip)[None]
    posterior = load("tiny").encode(frames.astype(np.float32) / 127.5 - 1)
    stored = read_latents(tmp_path / "z.npz").arrays["latents"]
    assert np.abs(stored - np.asarray(posterior.mean)[0]).max() <= LATENTS_TOLERANCE


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_an_output_that_is_there_is_kept_without_y_and_replaced_with_it(command, tmp_path, capsys):
    clip = write_numbered(tmp_path / "in.mp4", 9, (64, 48), Fraction(25))
    encode(clip, tmp_path / "z.npz")
    source, output, run = (clip, "new.npz", encode) if command == "encode" else (tmp_path / "z.npz", "new.mp4", decode)
    old = tmp_path / output
    old.write_text("somebody's work")
    arguments = [command, str(source), "-o", str(old), "-q"]
    assert main(arguments + (["--model", "tiny"] if command == "encode" else [])) == 4
    assert capsys.readouterr().err.startswith("error: ")
    assert old.read_text() == "somebody's work"
    run(source, old, "-y")
    assert old.read_bytes() != b"somebody's work"


def outputs_after(failing: Callable[[], int], folder: Path) -> tuple[int, set[str]]:
    """Exit code, and the files that are new."""
    before = {path.name for path in folder.iterdir()}
    code = failing()
    return code, {path.name for path in folder.iterdir()} - before


def test_a_video_that_breaks_off_leaves_no_output_and_the_old_one_whole(tmp_path, capsys):
    clip = write_numbered(tmp_path / "in.mkv", 50, (64, 48), Fraction(25))
    data = clip.read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data[: len(data) * 6 // 10])
    old = tmp_path / "old.npz"
    old.write_text("whole")
    for output in (tmp_path / "new.npz", old):
        command = ["encode", str(broken), "-o", str(output), "--model", "tiny", "-y", "-q"]
        code, new = outputs_after(lambda command=command: main(command), tmp_path)
        assert (code, new) == (3, set())
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("error: ")
        assert "broken.mkv" in lines[0]
    assert old.read_text() == "whole"


def test_latents_that_are_damaged_leave_no_video(tmp_path, capsys):
    clip = write_numbered(tmp_path / "in.mp4", 9, (64, 48), Fraction(25))
    encode(clip, tmp_path / "z.safetensors")
    data = bytearray((tmp_path / "z.safetensors").read_bytes())
    data[-5] ^= 1  # one bit of the last latent
    (tmp_path / "z.safetensors").write_bytes(data)
    command = ["decode", str(tmp_path / "z.safetensors"), "-o", str(tmp_path / "out.mp4"), "-q"]
    assert outputs_after(lambda: main(command), tmp_path) == (3, set())
    assert "sha256" in capsys.readouterr().err
