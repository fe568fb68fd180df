"""How frames look that the reader gives out: colours in every matrix and range, which way is up, what is said."""

from __future__ import annotations

import numpy as np
import pytest
from media import (
    LOSSLESS,
    MATRICES,
    Coding,
    ffmpeg,
    numbered,
    quarters,
    write_frames,
    write_numbered,
    write_solid,
)
from reading import FILES, HEVC, read, refusal

from cogvae_cli.io.colours import ColourFacts


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "vp9.webm", "av1.mp4", "hevc10.mkv"])
def test_solid_colours_are_right_in_every_matrix_and_range(tmp_path, name, matrix, full):
    base = FILES.get(name, Coding("libx265", "yuv420p10le", HEVC.options))
    coding = Coding(base.codec, base.pix_fmt, base.options, matrix=MATRICES[matrix][2], full=full)
    for colour in ((200, 60, 40), (30, 180, 90), (40, 70, 210)):
        frames, reader = read(write_solid(tmp_path / name, colour, (64, 48), matrix, coding))
        assert np.abs(np.stack(frames).astype(int) - colour).max() <= 3
        assert reader.info.colour.range == ("full" if full else "limited")
        assert not reader.info.colour.assumed


@pytest.mark.parametrize(("size", "matrix", "name"), [((64, 48), "bt601", "BT.601"), ((1280, 720), "bt709", "BT.709")])
def test_untagged_colours_follow_the_size_rule_and_say_so(tmp_path, size, matrix, name):
    frames, reader = read(write_solid(tmp_path / "a.mp4", (200, 60, 40), size, matrix, Coding(full=False)))
    assert np.abs(np.stack(frames).astype(int) - (200, 60, 40)).max() <= 3
    assert reader.info.colour.assumed
    assert any(name in notice for notice in reader.notices)


def test_full_range_by_pixel_format_is_read_as_full_range(tmp_path):
    coding = Coding("mjpeg", "yuvj420p", {"qmin": "1", "q": "1"}, matrix=5)
    frames, reader = read(write_solid(tmp_path / "a.avi", (200, 60, 40), (64, 48), "bt601", coding))
    assert np.abs(np.stack(frames).astype(int) - (200, 60, 40)).max() <= 3
    assert reader.info.colour.range == "full"


def test_conversion_has_no_bias(tmp_path, rng):
    """Without full chroma interpolation the mean is 1 to 1.5 levels too dark."""
    means = rng.integers(20, 236, (40, 3))
    errors = []
    for index, colour in enumerate(means.tolist()):
        coding = Coding(options={"qp": "0"}, matrix=1, full=False)
        frames, _ = read(write_solid(tmp_path / f"{index}.mkv", tuple(colour), (64, 48), "bt709", coding))
        errors.append(frames[0].mean((0, 1)) - colour)
    assert np.abs(np.mean(errors, axis=0)).max() < 0.15  # measured: 0.05


def test_lossless_rgb_comes_back_to_the_bit(tmp_path, rng):
    frames = rng.integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
    for name, coding in (("a.mkv", LOSSLESS), ("b.mkv", FILES["rgb.mkv"])):
        got, reader = read(write_frames(tmp_path / name, frames, coding=coding))
        assert np.array_equal(np.stack(got), frames)
        assert reader.info.colour == ColourFacts("rgb", reader.info.colour.range, None, None, False)


def test_grey_video_is_read(tmp_path):
    frames, _ = read(write_numbered(tmp_path / "a.mkv", 9, coding=Coding("ffv1", "gray")))
    assert np.abs(np.stack(frames).astype(int) - numbered(range(9), 64, 48)).max() <= 1


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_and_named(tmp_path, transfer, name):
    coding = Coding("libx265", "yuv420p10le", HEVC.options, matrix=9, primaries=9, transfer=transfer)
    error = refusal(write_numbered(tmp_path / "a.mp4", 5, coding=coding))
    assert f"HDR ({name})" in error.message
    assert "tone mapping" in (error.hint or "")


def test_a_matrix_that_cannot_be_converted_is_refused(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 5, coding=Coding("libx264", "yuv444p", matrix=8))
    assert "matrix 8 of H.273" in refusal(path).message


TURNS = {
    "rotated 90": ["-display_rotation", "90"],
    "rotated 180": ["-display_rotation", "180"],
    "rotated 270": ["-display_rotation", "270"],
    "mirrored": ["-display_hflip"],
    "upside down": ["-display_vflip"],
    "transposed": ["-display_rotation", "90", "-display_hflip"],
    "transposed the other way": ["-display_rotation", "270", "-display_hflip"],
}


@pytest.mark.parametrize("turn", TURNS)
def test_frames_come_upright_as_ffmpeg_shows_them(tmp_path, turn):
    frames = [quarters()] * 3
    stored = write_frames(tmp_path / "stored.mp4", frames, coding=Coding(options={"crf": "10"}, matrix=6, full=False))
    turned = tmp_path / "turned.mp4"
    ffmpeg(*TURNS[turn], "-i", stored, "-c", "copy", turned)
    ffmpeg("-i", turned, "-c:v", "ffv1", "-pix_fmt", "bgr0", tmp_path / "shown.mkv")
    got, reader = read(turned)
    expected, _ = read(tmp_path / "shown.mkv")
    assert got[0].shape == expected[0].shape == (reader.info.height, reader.info.width, 3)
    assert np.abs(got[0].astype(int) - expected[0]).mean() < 5  # measured: 3.2; another turn: over 60
    assert not np.array_equal(got[0], frames[0])


def test_a_turn_that_is_no_quarter_turn_is_refused(tmp_path):
    ffmpeg("-display_rotation", "30", "-i", write_numbered(tmp_path / "a.mp4", 5), "-c", "copy", tmp_path / "b.mp4")
    assert "no quarter turn" in refusal(tmp_path / "b.mp4").message


def test_transparency_that_is_dropped_is_said(tmp_path):
    for opaque, alpha in ((True, 255), (False, 100)):
        path = tmp_path / f"{alpha}.mov"
        colour = f"color=red@{alpha / 255}:s=64x48:d=0.2,format=rgba"
        ffmpeg("-f", "lavfi", "-i", colour, "-c:v", "qtrle", "-pix_fmt", "argb", path)
        frames, reader = read(path)
        assert np.abs(frames[0].astype(int) - (255, 0, 0)).max() <= 2
        assert any("transparency" in notice for notice in reader.notices) is not opaque


def test_pixels_that_are_not_square_are_said(tmp_path):
    ffmpeg("-i", write_numbered(tmp_path / "a.mp4", 5), "-c", "copy", "-aspect", "8:3", tmp_path / "b.mp4")
    _, reader = read(tmp_path / "b.mp4")
    assert reader.info.pixel_aspect == 2
    assert any("not square" in notice for notice in reader.notices)


def test_interlaced_video_is_said(tmp_path):
    coding = Coding(options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    _, reader = read(write_numbered(tmp_path / "a.mp4", 5, coding=coding))
    assert any("interlaced" in notice for notice in reader.notices)
