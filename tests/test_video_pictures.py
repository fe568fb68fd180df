"""Pictures as video: stills of every kind, animated ones, numbered files and folders, with their traps."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media import numbered, quarters, read_numbers
from PIL import Image
from reading import read, refusal

from cogvae_cli.io.picture_sequence import files_of
from cogvae_cli.io.read_options import ReadOptions

STILLS = {"png": 0.0, "bmp": 0.0, "tiff": 0.0, "webp": 0.0, "jpg": 4.5}
"""Mean error of a still picture after reading; measured for jpg: 3.7, at hard edges of colour."""


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **({"lossless": True} if path.suffix == ".webp" else {"quality": 95}), **options)
    return path


@pytest.mark.parametrize("kind", STILLS)
def test_a_still_picture_is_a_video_of_one_frame(tmp_path, kind):
    frames, reader = read(save(tmp_path / f"a.{kind}", quarters((66, 50))))
    assert len(frames) == 1
    assert np.abs(frames[0].astype(int) - quarters((66, 50))).mean() <= STILLS[kind]
    assert (reader.timing.frames, reader.timing.variable) == (1, False)


def turned(value: int, pixels: np.ndarray) -> np.ndarray:
    """As EXIF defines its eight orientations: what is shown, of what is stored."""
    ways = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[:, ::-1],
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: pixels.transpose(1, 0, 2)[::-1],
    }
    return ways[value]


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_that_a_camera_notes_is_followed(tmp_path, kind, value):
    exif = Image.Exif()
    exif[0x0112] = value
    path = save(tmp_path / f"a.{kind}", quarters(), exif=exif)
    frames, reader = read(path)
    expected = turned(value, quarters())
    assert frames[0].shape == expected.shape
    assert np.abs(frames[0].astype(int) - expected).mean() <= STILLS[kind]
    assert ("orientation" in reader.record()) is (value != 1)
    stored, _ = read(path, ReadOptions(autorotate=False))
    assert np.abs(stored[0].astype(int) - quarters()).mean() <= STILLS[kind]


@pytest.mark.parametrize("kind", ["gif", "png"])
def test_animated_pictures_are_read_by_their_delays(tmp_path, kind):
    pictures = [Image.fromarray(frame) for frame in numbered(range(4), 64, 48)]
    path = tmp_path / f"a.{kind}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 200, 300, 100])
    frames, reader = read(path)
    assert read_numbers(frames) == [0, 1, 2, 3]
    assert reader.timing.times == (0, Fraction(1, 10), Fraction(3, 10), Fraction(6, 10))
    resampled, _ = read(path, ReadOptions(fps=Fraction(10)))
    assert read_numbers(resampled) == [0, 1, 1, 2, 2, 2, 3]


def test_transparent_pictures_are_composited(tmp_path):
    pixels = np.zeros((48, 64, 4), np.uint8)
    pixels[:, :32] = 200, 60, 40, 102
    save(tmp_path / "a.png", pixels)
    palette = Image.fromarray(quarters()).quantize(4)
    palette.save(tmp_path / "a.gif", transparency=palette.getpixel((40, 4)))
    for name in ("a.png", "a.gif"):
        black, white = (read(tmp_path / name, ReadOptions(alpha=choice))[0][0] for choice in ("black", "white"))
        assert not black[4, 40].any()
        assert (white[4, 40] == 255).all()
    assert read(tmp_path / "a.png")[0][0][4, 4].tolist() == [80, 24, 16]


def test_deep_and_odd_pictures_keep_their_colours(tmp_path):
    Image.fromarray(np.full((48, 64), 40_000, np.uint16)).save(tmp_path / "16.png")
    Image.new("CMYK", (64, 48), (0, 200, 200, 10)).save(tmp_path / "cmyk.jpg", quality=95)
    Image.new("P", (64, 48), 3).save(tmp_path / "palette.png")
    Image.new("1", (64, 48), 1).save(tmp_path / "bits.png")
    Image.new("L", (64, 48), 77).save(tmp_path / "grey.jpg", quality=95)
    colours = {"16.png": 156, "cmyk.jpg": (245, 53, 53), "palette.png": 0, "bits.png": 255, "grey.jpg": 77}
    for name, colour in colours.items():
        frames, _ = read(tmp_path / name)
        assert np.abs(frames[0].astype(int) - np.broadcast_to(colour, 3)).max() <= 3, name


def test_an_image_with_a_colour_profile_does_not_crash(tmp_path):
    frames, _ = read(save(tmp_path / "a.png", quarters(), icc_profile=b"\0" * 200))
    assert np.array_equal(frames[0], quarters())


@pytest.mark.parametrize("pattern", ["frame%04d.png", "frame%d.png", "100%%_%03d.jpg"])
def test_numbered_pictures_are_a_video_in_the_order_of_their_numbers(tmp_path, pattern):
    for number, frame in enumerate(numbered(range(12), 64, 48)):
        save(tmp_path / (pattern % (number + 3)), frame)
    (tmp_path / "frame_other.png").write_bytes(b"no picture")
    frames, reader = read(tmp_path / pattern)
    assert read_numbers(frames) == list(range(12))
    assert (reader.timing.rate, reader.info.declared_frames, reader.info.name) == (25, 12, pattern)
    assert any("25 frames a second are taken" in notice for notice in reader.notices)
    _, reader = read(tmp_path / pattern, ReadOptions(fps=Fraction(30000, 1001)))
    assert (reader.timing.rate, reader.timing.frames) == (Fraction(30000, 1001), 12)
    assert reader.notices == () or "matrix" in reader.notices[0]


def test_a_file_of_that_very_name_wins_over_the_pattern(tmp_path):
    for number, frame in enumerate(numbered(range(3), 64, 48)):
        save(tmp_path / f"a{number}.png", frame)
    save(tmp_path / "a%d.png", quarters())
    frames, _ = read(tmp_path / "a%d.png")
    assert len(frames) == 1
    assert np.array_equal(frames[0], quarters())


def test_a_number_that_is_missing_is_said(tmp_path):
    for number in (0, 1, 2, 5, 6):
        save(tmp_path / f"a{number:03d}.png", numbered([number], 64, 48)[0])
    frames, reader = read(tmp_path / "a%03d.png")
    assert read_numbers(frames) == [0, 1, 2, 5, 6]
    assert "2 of the numbers from 0 to 6 are missing" in reader.notices


def test_a_folder_of_pictures_is_read_in_natural_order(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = ["a1.png", "a2.PNG", "a10.png", "a100.png", "b1.jpg", "B2.png", "c.tiff"]
    for name, frame in zip(names, numbered(range(7), 64, 48), strict=True):
        save(folder / name, frame)
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "sub.png").mkdir()
    assert [path.name for path in files_of(folder)] == names
    frames, reader = read(folder)
    assert read_numbers(frames) == list(range(7))
    assert (reader.info.name, len(reader.files)) == ("pictures", 7)
    frames, _ = read(folder, ReadOptions(start=Fraction(2, 25), frames=3))
    assert read_numbers(frames) == [2, 3, 4]


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    assert "a folder without pictures" in refusal(tmp_path).message


def test_a_picture_of_another_size_is_named(tmp_path):
    for number in range(4):
        save(tmp_path / f"{number}.png", quarters((64, 48) if number < 3 else (32, 24)))
    assert "from 64x48 to 32x24 after 3 frames" in refusal(tmp_path).message
    frames, reader = read(tmp_path, ReadOptions(on_error="keep"))
    assert len(frames) == 3
    assert reader.damage is not None


def test_a_broken_picture_among_good_ones_is_named(tmp_path):
    for number in range(4):
        save(tmp_path / f"{number}.png", quarters())
    broken = tmp_path / "2.png"
    broken.write_bytes(broken.read_bytes()[:100])
    message = refusal(tmp_path).message
    assert "2.png" in message
    assert "2 frames could be read" in message


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp", "tiff"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_picture_that_breaks_off_is_refused_and_not_shown_half(tmp_path, kind, part, rng):
    whole = save(tmp_path / f"whole.{kind}", rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    path = tmp_path / f"a.{kind}"
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
    for options in (ReadOptions(), ReadOptions(on_error="keep")):
        message = refusal(path, options).message
        assert "truncated" in message


def test_a_photo_s_thumbnail_is_not_its_end(tmp_path, rng):
    """The picture in EXIF has an end marker too, and what follows the picture is nobody's business."""
    small = save(tmp_path / "small.jpg", quarters((32, 24))).read_bytes()
    whole = save(tmp_path / "whole.jpg", rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), exif=b"Exif\0\0" + small)
    path = tmp_path / "a.jpg"
    path.write_bytes(whole.read_bytes()[:-200])
    assert "truncated" in refusal(path).message
    path.write_bytes(whole.read_bytes() + b"maker's notes" * 100)
    assert len(read(path)[0]) == 1


def png_bomb(path: Path, side: int) -> Path:
    """A picture of side x side black pixels in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("side", [8000, 20_000])
def test_a_picture_that_unpacks_to_far_more_is_refused_by_its_header(tmp_path, side):
    path = png_bomb(tmp_path / "a.png", side)
    assert path.stat().st_size < 100_000
    message = refusal(path).message
    assert "over the limit" in message or "far more pixels" in message


@pytest.mark.parametrize("odd", ["jpeg", "YCbCr"])
def test_a_tiff_that_ffmpeg_shows_wrong_is_refused(tmp_path, odd):
    image = Image.fromarray(quarters())
    path = tmp_path / "a.tif"
    image.convert("YCbCr").save(path) if odd == "YCbCr" else image.save(path, compression="jpeg")
    assert "a TIFF of a kind that isn't read here" in refusal(path).message


def test_a_tiff_of_several_pages_says_that_the_first_is_read(tmp_path):
    first, second = (Image.fromarray(frame) for frame in numbered(range(2), 64, 48))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    frames, reader = read(tmp_path / "a.tif")
    assert read_numbers(frames) == [0]
    assert "the file holds several pictures; the first is read" in reader.notices
