"""The commands on video that isn't plain: pipes, damage, parts, pictures; all of 64x48, to compile once."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from main_job import assert_same_video, decode, encode
from media import ffmpeg, numbered, write_frames, write_numbered
from PIL import Image
from reading import read

from cogvae_cli.cli.main import main
from cogvae_cli.io.latents import read_header, read_latents

SIZE = (64, 48)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("clip") / "in.mp4", 9, SIZE, Fraction(30000, 1001))


@contextmanager
def fed_by(path: Path, monkeypatch: pytest.MonkeyPatch):
    with path.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield


def piped(arguments: list[str], source: Path, monkeypatch, capsysbinary) -> tuple[int, bytes, str]:
    """Exit code, standard output and standard error of a command that is fed a file."""
    with fed_by(source, monkeypatch):
        code = main(arguments)
    out, err = capsysbinary.readouterr()
    return code, out, err.decode()


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_video_goes_through_pipes_and_comes_back(kind, clip, tmp_path, monkeypatch, capsysbinary):
    data = clip.read_bytes()
    assert data.index(b"moov") > data.index(b"mdat")  # its index is at the end, so that it must be sought for
    command = ["encode", "-", "-o", "-", "--model", "tiny", "-q", "--format", kind]
    code, latents, errors = piped(command, clip, monkeypatch, capsysbinary)
    assert (code, errors) == (0, "")
    (tmp_path / "z").write_bytes(latents)
    header, _ = read_header(tmp_path / "z")
    assert (header.source.name, header.source.size) == ("stdin", len(data))
    encode(clip, tmp_path / f"file.{kind}")
    assert read_latents(tmp_path / "z").sha256 == read_latents(tmp_path / f"file.{kind}").sha256
    assert header.source.sha256 == read_header(tmp_path / f"file.{kind}")[0].source.sha256
    for container in ("mp4", "mkv"):
        command = ["decode", "-", "-o", "-", "-q", "--format", container, "--crf", "4"]
        capsysbinary.readouterr()
        code, video, errors = piped(command, tmp_path / "z", monkeypatch, capsysbinary)
        assert (code, errors) == (0, "")
        (tmp_path / f"out.{container}").write_bytes(video)
        assert_same_video(tmp_path / f"out.{container}", 9, SIZE, Fraction(30000, 1001))


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_json_and_the_result_cannot_both_go_to_standard_output(command, clip, capsys):
    assert main([command, str(clip), "-o", "-", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "both write to standard output" in err


def test_what_is_wrong_with_standard_input_is_called_that(tmp_path, monkeypatch, capsysbinary):
    (tmp_path / "text").write_text("no video at all\n" * 20)
    for command in (["encode", "-", "-o", "-", "-m", "tiny", "-q"], ["decode", "-", "-o", "-", "-q"]):
        code, out, errors = piped(command, tmp_path / "text", monkeypatch, capsysbinary)
        assert (code, out) == (3, b"")
        assert errors.startswith("error: standard input")
        assert "/proc" not in errors


def test_good_frames_before_damage_are_kept_marked_and_the_command_ends_with_1(tmp_path, capsys):
    whole = write_frames(tmp_path / "whole.mkv", numbered(range(40), *SIZE))
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    command = ["encode", str(broken), "-o", str(tmp_path / "z.npz"), "--model", "tiny", "-q", "--on-error", "keep"]
    assert main(command) == 1
    out, err = capsys.readouterr()
    header, _ = read_header(tmp_path / "z.npz")
    count = header.frames.count
    assert 0 < count < 40
    assert f"only the {count} good frames before that were taken" in err
    assert "truncated" in header.settings["damaged"]
    assert f"{count} frames" in out
    assert main(["decode", str(tmp_path / "z.npz"), "-o", str(tmp_path / "out.mp4")]) == 0
    assert "the good part of a damaged video" in capsys.readouterr().err
    assert len(read(tmp_path / "out.mp4")[0]) == count


def test_decoded_frames_are_exact_in_ffv1_and_in_pictures(clip, tmp_path):
    encode(clip, tmp_path / "z.npz")
    decode(tmp_path / "z.npz", tmp_path / "a.mkv", "--codec", "ffv1")
    decode(tmp_path / "z.npz", tmp_path / "pictures", "--format", "png")
    decode(tmp_path / "z.npz", tmp_path / "a%03d.png")
    video = np.stack(read(tmp_path / "a.mkv")[0])
    assert np.array_equal(video, np.stack(read(tmp_path / "pictures")[0]))
    assert np.array_equal(video, np.stack(read(tmp_path / "a%03d.png")[0]))


def test_lossless_containers_give_the_same_latents(clip, tmp_path):
    """The same content in another container, or in another lossless codec, is the same to the encoder."""
    frames, _ = read(clip)
    (tmp_path / "pictures").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "pictures" / f"{number}.png")
    ffmpeg("-i", clip, "-c", "copy", tmp_path / "copy.mkv")
    ffmpeg("-framerate", "25", "-i", tmp_path / "pictures" / "%d.png", "-c:v", "ffv1", tmp_path / "ffv1.mkv")
    ffmpeg("-framerate", "25", "-i", tmp_path / "pictures" / "%d.png", "-c:v", "qtrle", tmp_path / "qtrle.mov")
    hashes = set()
    for source in (clip, tmp_path / "copy.mkv", tmp_path / "pictures", tmp_path / "ffv1.mkv", tmp_path / "qtrle.mov"):
        encode(source, tmp_path / "z.npz", "-y")
        hashes.add(read_latents(tmp_path / "z.npz").sha256)
    assert len(hashes) == 1


def test_a_part_at_another_size_and_rate_is_encoded_and_recorded(tmp_path):
    source = write_numbered(tmp_path / "in.mp4", 40, (128, 96))
    options = ["--start", "0.4", "--duration", "0.72", "--fps", "12.5", "--size", "64x48", "--fit", "stretch"]
    encode(source, tmp_path / "z.npz", *options)
    header, shape = read_header(tmp_path / "z.npz")
    assert (header.frames.count, header.frames.width, header.frames.height) == (9, 64, 48)
    assert (header.timing.rate, shape) == (Fraction(25, 2), (3, 6, 8, 16))
    asked = {"start": "0.4", "duration": "0.72", "fps": "25/2", "size": "64x48", "fit": "stretch"}
    assert asked.items() <= header.settings.items()


def test_sound_of_the_source_comes_along_from_where_the_part_starts(tmp_path):
    write_numbered(tmp_path / "video.mkv", 30, SIZE)
    tone = ["-f", "lavfi", "-i", "sine=r=44100:d=1.2"]
    source = tmp_path / "in.mkv"
    ffmpeg(*tone, "-i", tmp_path / "video.mkv", "-c:v", "copy", "-c:a", "flac", "-map", "1", "-map", "0", source)
    encode(source, tmp_path / "z.npz", "--start", "0.4", "--frames", "9")
    decode(tmp_path / "z.npz", tmp_path / "out.mkv", "--audio", str(source))
    ffmpeg("-i", tmp_path / "out.mkv", "-f", "f32le", "-ac", "1", tmp_path / "sound")
    heard = np.fromfile(tmp_path / "sound", np.float32)
    assert 0.2 < len(heard) / 44100 < 0.5
    assert np.abs(heard).max() > 0.05


@pytest.mark.parametrize(
    "options",
    [
        ["--codec", "vp9"],
        ["--codec", "ffv1"],
        ["--crf", "60"],
        ["--preset", "warp"],
        ["--pix-fmt", "rgb24"],
        ["--format", "mkv"],
    ],
)
def test_what_the_video_cannot_be_is_refused_before_the_model_is_loaded(options, clip, tmp_path, capsys):
    encode(clip, tmp_path / "z.npz")
    capsys.readouterr()
    assert main(["decode", str(tmp_path / "z.npz"), "-o", str(tmp_path / "a.mov"), *options]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"] or len(lines) == 1
    assert not (tmp_path / "a.mov").exists()
