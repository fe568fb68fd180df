"""Files of the kinds in docs/inputs.md, made by what the rows there name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from media import (
    LOSSLESS,
    Coding,
    ffmpeg,
    numbered,
    quarters,
    spoil_pictures,
    write_frames,
    write_numbered,
    write_solid,
)
from PIL import Image

TICKS = [0, 1, 2, 3, 7, 8, 15, 16, 30]
SAID = Coding(matrix=6, full=False)


Make = Callable[[Path], Path]
"""Writes a file into a folder and gives its path."""


def plain(name: str, coding: Coding, count: int = 20, size: tuple[int, int] = (64, 48)) -> Make:
    said = (
        coding
        if coding.matrix != 2 or coding.pix_fmt in ("bgr0", "gray", "rgb24")
        else dataclasses.replace(coding, matrix=6)
    )
    return lambda folder: write_numbered(folder / name, count, size, coding=said)


def remade(name: str, *arguments: str, before: tuple[str, ...] = (), coding: Coding = SAID) -> Make:
    """A file that ffmpeg makes of a numbered one, by copying."""

    def make(folder: Path) -> Path:
        source = write_numbered(folder / f"source{Path(name).suffix}", 20, coding=coding)
        ffmpeg(*before, "-i", source, "-c", "copy", *arguments, folder / name)
        return folder / name

    return make


def varying(folder: Path) -> Path:
    return write_frames(folder / "vfr.mp4", numbered(range(9), 64, 48), 25, SAID, TICKS)


def solid(matrix: str, number: int, full: bool, size: tuple[int, int] = (64, 48)) -> Make:
    coding = Coding(matrix=number, full=full)
    return lambda folder: write_solid(folder / "a.mp4", (200, 60, 40), size, matrix, coding)


def see_through(name: str) -> Make:
    codec = (
        ["prores_ks", "-pix_fmt", "yuva444p10le"] if name.endswith("mov") else ["libvpx-vp9", "-pix_fmt", "yuva420p"]
    )

    def make(folder: Path) -> Path:
        source = "color=0xC83C28@0.4:s=64x48:d=0.2,format=rgba"
        ffmpeg("-f", "lavfi", "-i", source, "-c:v", *codec, "-colorspace", "smpte170m", folder / name)
        return folder / name

    return make


def several(folder: Path) -> Path:
    small, large = (write_numbered(folder / f"{w}.mp4", 20, (w, h), coding=SAID) for w, h in ((64, 48), (128, 96)))
    default = ["-disposition:v:0", "0", "-disposition:v:1", "default"]
    ffmpeg("-i", small, "-i", large, "-map", "0", "-map", "1", "-c", "copy", *default, folder / "both.mkv")
    return folder / "both.mkv"


def sound(folder: Path) -> Path:
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.3", "-c:a", "aac", folder / "a.m4a")
    return folder / "a.m4a"


def covered(folder: Path) -> Path:
    Image.fromarray(quarters()).save(folder / "cover.jpg")
    joined = ["-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic"]
    ffmpeg("-i", sound(folder), "-i", folder / "cover.jpg", *joined, folder / "b.m4a")
    return folder / "b.m4a"


def pictures(folder: Path) -> Path:
    (folder / "pictures").mkdir()
    for number, frame in enumerate(numbered(range(12), 64, 48)):
        Image.fromarray(frame).save(folder / "pictures" / f"frame{number}.png")
    return folder / "pictures"


def pattern(folder: Path) -> Path:
    pictures(folder)
    return folder / "pictures" / "frame%d.png"


def animated(name: str) -> Make:
    def make(folder: Path) -> Path:
        frames = [Image.fromarray(frame) for frame in numbered(range(4), 64, 48)]
        frames[0].save(folder / name, save_all=True, append_images=frames[1:], duration=[100, 200, 300, 100])
        return folder / name

    return make


def photo(folder: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(quarters()).save(folder / "a.jpg", exif=exif, quality=95)
    return folder / "a.jpg"


def cut_photo(folder: Path) -> Path:
    path = photo(folder)
    path.write_bytes(path.read_bytes()[:-60])
    return path


def cut(name: str, coding: Coding, part: float) -> Make:
    def make(folder: Path) -> Path:
        coded = dataclasses.replace(coding, matrix=6)
        whole = write_frames(folder / f"whole-{name}", numbered(range(40), 128, 96), coding=coded)
        (folder / name).write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
        return folder / name

    return make


def remade_and_cut(name: str, *arguments: str) -> Make:
    """A file that ffmpeg codes anew, without its last third."""

    def make(folder: Path) -> Path:
        source = write_numbered(folder / "source.mkv", 20, (128, 96), coding=LOSSLESS)
        ffmpeg("-i", source, *arguments, folder / f"whole-{name}")
        data = (folder / f"whole-{name}").read_bytes()
        (folder / name).write_bytes(data[: len(data) * 2 // 3])
        return folder / name

    return make


def broadcast(*starts: int) -> Make:
    """Recordings joined into one transport stream, each with time stamps of its own."""

    def make(folder: Path) -> Path:
        source = write_numbered(folder / "source.ts", 20, coding=SAID)
        with (folder / "a.ts").open("wb") as joined:
            for start in starts:
                ffmpeg("-i", source, "-c", "copy", "-output_ts_offset", str(start), folder / f"{start}.ts")
                joined.write((folder / f"{start}.ts").read_bytes())
        return folder / "a.ts"

    return make


def tuned_in(folder: Path) -> Path:
    """A transport stream whose first packets are missing, up to the middle of a group of pictures."""
    coding = dataclasses.replace(SAID, options={"g": "5", "x264-params": "repeat-headers=1:scenecut=0"})
    data = write_numbered(folder / "whole.ts", 20, coding=coding).read_bytes()
    (folder / "a.ts").write_bytes(data[188 * 5 :])
    return folder / "a.ts"


def edited(folder: Path) -> Path:
    """An MP4 whose edit list leaves out its first 8 frames."""
    coding = dataclasses.replace(SAID, options={"bf": "2", "b-adapt": "0"})
    source = write_numbered(folder / "source.mp4", 20, coding=coding)
    ffmpeg("-ss", "0.3", "-i", source, "-c", "copy", folder / "a.mp4")
    return folder / "a.mp4"


def lossy(folder: Path) -> Path:
    """HEVC of which FFmpeg leaves out three pictures without a word."""
    coding = Coding("libx265", options={"x265-params": "log-level=none:pools=none"}, matrix=6)
    path = write_numbered(folder / "a.mp4", 20, coding=coding)
    spoil_pictures(path, slice(8, 11))
    return path


def photo_in_tiff(folder: Path) -> Path:
    Image.fromarray(quarters()).save(folder / "a.tif", compression="jpeg")
    return folder / "a.tif"


def spoilt(folder: Path) -> Path:
    rng = np.random.default_rng(20)
    path = write_frames(folder / "a.mp4", rng.integers(0, 256, (30, 96, 128, 3), dtype=np.uint8), coding=SAID)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 6000] = rng.bytes(6000)
    path.write_bytes(data)
    return path


def joined(folder: Path) -> Path:
    parts = [write_numbered(folder / f"{w}.h264", 10, (w, h), coding=SAID) for w, h in ((64, 48), (96, 64))]
    (folder / "joined.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    return folder / "joined.h264"


def holding(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def renamed(folder: Path) -> Path:
    return write_numbered(folder / "http:a.mp4", 20, coding=SAID)
