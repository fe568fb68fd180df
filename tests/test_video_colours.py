"""How frames look that the reader gives out: colours in every matrix and range, which way is up, what is said."""

from __future__ import annotations

import itertools
from pathlib import Path

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

from cogvae_cli.io.colours import ColourFacts, composited
from cogvae_cli.io.read_options import ReadOptions


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
    assert "--hdr tonemap" in (error.hint or "")


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


ALPHA = {
    "prores.mov": ["-c:v", "prores_ks", "-pix_fmt", "yuva444p10le"],
    "qtrle.mov": ["-c:v", "qtrle", "-pix_fmt", "argb"],
    "png.mkv": ["-c:v", "png", "-pix_fmt", "rgba"],
    "vp9.webm": ["-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-b:v", "1M"],
    "vp8.webm": ["-c:v", "libvpx", "-threads", "1", "-pix_fmt", "yuva420p", "-b:v", "1M", "-auto-alt-ref", "0"],
}


@pytest.mark.parametrize("alpha", [0, 102, 255])
@pytest.mark.parametrize("name", ALPHA)
def test_transparent_pixels_are_shown_on_the_chosen_colour(tmp_path, name, alpha):
    colour = f"color=0xC83C28@{alpha / 255}:s=64x48:d=0.2,format=rgba"
    ffmpeg("-f", "lavfi", "-i", colour, *ALPHA[name], tmp_path / name)
    for choice, behind in (("black", 0), ("white", 255), ("drop", None)):
        frames, reader = read(tmp_path / name, ReadOptions(alpha=choice))
        shown = [part if behind is None else (part * alpha + behind * (255 - alpha)) / 255 for part in (200, 60, 40)]
        if choice != "drop" or alpha:  # a coder may drop the colour of what nobody sees
            assert np.abs(np.stack(frames) - np.array(shown)).max() <= 4  # chroma of 8 bits, and alpha's own
        assert len(frames) == 5
        if "vp" not in name or choice != "drop":
            assert any("transparen" in notice for notice in reader.notices) is (alpha < 255)
            assert reader.record().get("alpha") == (choice if alpha < 255 else None)


def test_alpha_is_composited_exactly(rng):
    pixels = rng.integers(0, 256, (48, 64, 4), dtype=np.uint8)
    part = pixels[..., 3:] / 255
    for behind in (0, 255):
        exact = pixels[..., :3] * part + behind * (1 - part)
        assert np.abs(composited(pixels, behind) - exact).max() <= 0.5 + 1e-9


def test_the_colorspace_option_overrides_what_the_file_says(tmp_path):
    for matrix, number in (("bt601", 1), ("bt709", 6), ("bt2020", 1), ("bt709", 2)):
        coding = Coding(matrix=number, full=False)
        path = write_solid(tmp_path / "a.mp4", (200, 60, 40), (64, 48), matrix, coding)
        frames, reader = read(path, ReadOptions(colorspace=matrix))
        assert np.abs(np.stack(frames).astype(int) - (200, 60, 40)).max() <= 3
        assert not reader.info.colour.assumed
        assert reader.record() == {"colorspace": matrix}


DEPTHS = [
    "yuv420p10le",
    "yuv422p12le",
    "yuv444p16le",
    "gray16le",
    "gray10le",
    "gbrp16le",
    "gbrp10le",
    "yuv422p",
    "gray",
]


@pytest.mark.parametrize("pix_fmt", DEPTHS)
def test_every_depth_and_layout_is_read_within_a_level_or_two(tmp_path, pix_fmt):
    ramp = np.repeat(np.linspace(5, 250, 64).round().astype(np.uint8)[None], 48, 0)
    frame = np.stack([ramp, ramp, ramp], axis=2)
    coding = Coding("ffv1", pix_fmt, matrix=2 if "gray" in pix_fmt or "gb" in pix_fmt else 6, full=None)
    frames, reader = read(write_frames(tmp_path / "a.mkv", [frame] * 3, coding=coding))
    assert reader.info.pix_fmt == pix_fmt
    assert np.abs(frames[0].astype(int) - frame).max() <= 2


def test_pixels_that_are_not_square_become_square(tmp_path):
    source = write_frames(tmp_path / "a.mp4", [quarters((64, 48))] * 5, coding=Coding(options={"crf": "4"}))
    for aspect, size in (("8:3", (128, 48)), ("2:3", (32, 48)), ("4:3", (64, 48)), ("673:500", (64, 48))):
        path = tmp_path / "b.mp4"
        ffmpeg("-i", source, "-c", "copy", "-aspect", aspect, path)
        frames, reader = read(path)
        assert (reader.info.width, reader.info.height) == frames[0].shape[1::-1] == size
        assert np.abs(frames[0].astype(int) - quarters(size)).mean() < 6  # measured: 3.9; turned or shifted: over 60
        said = any("not square" in notice for notice in reader.notices)
        assert said is ("pixel_aspect" in reader.record()) is (size != (64, 48))


def test_a_pixel_aspect_that_makes_frames_too_large_is_refused(tmp_path):
    ffmpeg("-i", write_numbered(tmp_path / "a.mkv", 3), "-c", "copy", "-aspect", "60000:1", tmp_path / "b.mkv")
    assert "over the limit" in refusal(tmp_path / "b.mkv", ReadOptions(max_pixels=100_000)).message


def test_rotated_frames_keep_their_pixel_aspect(tmp_path):
    ffmpeg("-i", write_numbered(tmp_path / "a.mp4", 3), "-c", "copy", "-aspect", "8:3", tmp_path / "b.mp4")
    ffmpeg("-display_rotation", "90", "-i", tmp_path / "b.mp4", "-c", "copy", tmp_path / "c.mp4")
    frames, reader = read(tmp_path / "c.mp4")
    assert frames[0].shape == (64, 24, 3)  # stored pixels are twice as wide as high, and lie on their side
    assert reader.record()["pixel_aspect"] == "1:2"


def test_frames_stay_as_they_are_stored_without_autorotate(tmp_path):
    source = write_frames(tmp_path / "a.mp4", [quarters()] * 3, coding=Coding(options={"crf": "4"}))
    ffmpeg("-display_rotation", "90", "-i", source, "-c", "copy", tmp_path / "b.mp4")
    frames, reader = read(tmp_path / "b.mp4", ReadOptions(autorotate=False))
    assert np.abs(frames[0].astype(int) - quarters()).mean() < 5
    assert reader.record() == {"autorotate": "no"}
    assert read(tmp_path / "b.mp4")[1].record() == {"orientation": "transposed, upside down"}


def test_interlaced_video_is_said(tmp_path):
    coding = Coding(options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    _, reader = read(write_numbered(tmp_path / "a.mp4", 5, coding=coding))
    assert any("interlaced" in notice for notice in reader.notices)
    assert not reader.record()


def test_video_that_is_interlaced_from_somewhere_on_is_said(tmp_path):
    coding = Coding(options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    parts = write_numbered(tmp_path / "a.h264", 5), write_numbered(tmp_path / "b.h264", 5, coding=coding)
    (tmp_path / "c.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert any("interlaced" in notice for notice in read(tmp_path / "c.h264")[1].notices)


@pytest.mark.parametrize("name", ["a.mp4", "a.h264"])
def test_deinterlacing_gives_each_frame_one_moment(tmp_path, name):
    """A bar that moves 4 pixels a field: woven, its edges are combs; deinterlaced, rows beside each other agree."""
    path = interlaced(tmp_path / name, 12)
    woven, _ = read(path)
    frames, reader = read(path, ReadOptions(deinterlace=True))
    assert len(frames) == len(woven) == 12
    assert reader.record() == {"deinterlace": "bwdif"}
    assert not any("interlaced" in notice for notice in reader.notices)
    assert (reader.timing.rate, reader.timing.variable) == (25, False)
    assert comb(woven[6]) > 4 * comb(frames[6])
    centres = [float((frame[..., 0].mean(0) * np.arange(96)).sum() / frame[..., 0].mean(0).sum()) for frame in frames]
    assert all(later > earlier for earlier, later in itertools.pairwise(centres))


def interlaced(path: Path, count: int) -> Path:
    frames = []
    for number in range(count):
        frame = np.full((64, 96, 3), 16, np.uint8)
        for field in (0, 1):
            left = 4 * (2 * number + field) // 2
            frame[field::2, left : left + 16] = 235
        frames.append(frame)
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1", "crf": "4"}
    return write_frames(path, frames, coding=Coding(options=options))


def comb(frame: np.ndarray) -> float:
    """How much rows differ from those next to them, but not from those after these."""
    rows = frame[..., 0].astype(int)
    return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())
