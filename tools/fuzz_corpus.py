"""Good files of every kind that is read, and broken ones made of them."""

from __future__ import annotations

import dataclasses
import pathlib
import random
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from foreign_samples import laid_out, pt
from latents_samples import HEADER, MOMENTS, SAMPLED, values, write
from media import LOSSLESS, Coding, numbered, write_frames
from PIL import Image

import cogvae_cli
from cogvae_cli.io.foreign import Hints, read_foreign
from cogvae_cli.io.latents import read_latents
from cogvae_cli.io.model_folder import on_disk
from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.video_reader import VideoReader
from cogvae_cli.io.weights import read_config, read_tensors

Reader = Callable[[pathlib.Path, random.Random], object]

MOST_PIXELS = 1_000_000
"""Frames of a mutated header can be this large, and no larger."""

VIDEOS = {
    "h264.mp4": Coding(options={"bf": "1", "b-adapt": "0", "g": "3", "x264-params": "open-gop=1:scenecut=0"}),
    "faststart.mov": Coding(muxer_options={"movflags": "faststart"}),
    "fragmented.mp4": Coding(muxer_options={"movflags": "frag_keyframe+empty_moov"}),
    "indexed.mp4": Coding(options={"g": "2"}, muxer_options={"movflags": "dash+frag_keyframe+empty_moov+global_sidx"}),
    "h264.mkv": Coding(options={"g": "2"}),
    "live.mkv": Coding(muxer_options={"live": "1"}),
    "h264.ts": Coding(),
    "h264.flv": Coding(),
    "h264.h264": Coding(),
    "hevc.mp4": Coding("libx265", options={"x265-params": "log-level=none:pools=none"}),
    "vp8.webm": Coding("libvpx"),
    "vp8.ogv": Coding("libvpx"),
    "mpeg2.mxf": Coding("mpeg2video"),
    "vp9.webm": Coding("libvpx-vp9"),
    "av1.mp4": Coding("libsvtav1", options={"preset": "10", "svtav1-params": "lp=1"}),
    "mpeg4.avi": Coding("mpeg4"),
    "mpeg2.mpg": Coding("mpeg2video"),
    "mjpeg.avi": Coding("mjpeg", "yuvj420p"),
    "prores.mov": Coding("prores_ks", "yuv422p10le"),
    "ffv1.mkv": LOSSLESS,
    "raw.y4m": Coding("wrapped_avframe", muxer="yuv4mpegpipe"),
    "grey.gif": Coding("gif", "gray"),
    "hdr.mp4": Coding("libx264", "yuv420p10le", matrix=9, primaries=9, transfer=16),
}
PICTURES = ("png", "jpg", "webp", "bmp", "tiff")


@dataclasses.dataclass(frozen=True)
class Sample:
    """A good file: its name's suffix, its bytes, and what reads it."""

    name: str
    data: bytes
    read: Reader


def corpus(folder: pathlib.Path) -> list[Sample]:
    """One good file of each kind, written to the folder."""
    made = [Sample(path.name, path.read_bytes(), read_video) for path in _videos(folder)]
    made += [Sample(path.name, path.read_bytes(), read_video) for path in _pictures(folder)]
    made += [Sample(path.name, path.read_bytes(), lambda path, _: read_latents(path)) for path in _latents(folder)]
    made += [Sample(path.name, path.read_bytes(), read_other) for path in _others(folder)]
    model = pathlib.Path(cogvae_cli.__file__).parent / "assets" / "tiny"
    config = (model / "config.json").read_bytes()
    made.append(Sample("config.json", config, _read_config))
    made.append(Sample("weights.safetensors", _small_weights(folder), _read_weights))
    return made


def _videos(folder: pathlib.Path) -> list[pathlib.Path]:
    frames = numbered(range(6), 64, 48)
    return [write_frames(folder / name, frames, coding=coding) for name, coding in VIDEOS.items()]


def _pictures(folder: pathlib.Path) -> list[pathlib.Path]:
    frames = [Image.fromarray(frame) for frame in numbered(range(3), 64, 48)]
    exif = Image.Exif()
    exif[0x0112] = 6
    paths = [folder / f"a.{kind}" for kind in PICTURES]
    for path in paths:
        frames[0].save(path, exif=exif)
    for name in ("animated.gif", "animated.png"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:], duration=[10, 200, 40])
        paths.append(folder / name)
    return paths


def _latents(folder: pathlib.Path) -> list[pathlib.Path]:
    rng = np.random.default_rng(3)
    return [
        write(folder / f"{kind}.{suffix}", header, values(rng, header))
        for kind, header in (("mean", HEADER), ("sample", SAMPLED), ("moments", MOMENTS))
        for suffix in ("npz", "safetensors")
    ]


def _others(folder: pathlib.Path) -> list[pathlib.Path]:
    latents = np.random.default_rng(4).normal(size=(3, 4, 6, 16)).astype(np.float32)
    np.save(folder / "foreign.npy", laid_out(latents, "THWC"))
    return [folder / "foreign.npy", pt(folder / "foreign.pt", laid_out(latents, "BCTHW"))]


def _small_weights(folder: pathlib.Path) -> bytes:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(5)
    save_file(
        {f"layer.{n}.weight": rng.normal(size=(4, 3, n + 1)).astype(np.float32) for n in range(5)},
        folder / "w.safetensors",
    )
    return (folder / "w.safetensors").read_bytes()


def read_video(path: pathlib.Path, chance: random.Random) -> object:
    """Reads all frames, with options that make other code run."""
    options = ReadOptions(
        max_pixels=MOST_PIXELS,
        hdr="tonemap",
        deinterlace=chance.random() < 0.2,
        size=(40, 30) if chance.random() < 0.3 else None,
        fps=chance.choice([None, None, 10]),
        start=chance.choice([None, None, Fraction(3, 25)]),
        on_error=chance.choice(["fail", "keep"]),
        frames=200,
    )
    with VideoReader(path, options) as reader:
        count = sum(1 for _ in reader.frames())
        return count, reader.timing, reader.notices, reader.record()


def read_other(path: pathlib.Path, _: random.Random) -> object:
    """Reads another program's latents, with the hints that they need."""
    return read_foreign(path, Hints(layout="THWC" if path.suffix == ".npy" else "BCTHW"))


def _read_config(path: pathlib.Path, _: random.Random) -> object:
    (path.parent / "model.safetensors").write_bytes(b"")
    try:
        return read_config(on_disk(path.parent / "model.safetensors"))
    finally:
        (path.parent / "model.safetensors").unlink()


def _read_weights(path: pathlib.Path, _: random.Random) -> object:
    (path.parent / "config.json").write_bytes(b"{}")
    try:
        return read_tensors(on_disk(path))
    finally:
        (path.parent / "config.json").unlink()


class Plain(random.Random):
    """Chance that always chooses what is most ordinary."""

    def random(self) -> float:
        return 1.0

    def choice(self, seq):  # noqa: ANN001, ANN201
        return seq[0]


NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**31 + 1, 2**63 - 1, 2**64 - 1)


def mutated(data: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """One to eight things go wrong with the bytes."""
    broken = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        chance.choice(WAYS)(broken, chance, others)
    return bytes(broken[: 4 * len(data) + 4096])


def _place(broken: bytearray, chance: random.Random) -> int:
    """Somewhere, and every other time near the start or the end, where headers and indexes stand."""
    near = min(len(broken), 600)
    return chance.choice(
        (chance.randrange(len(broken) + 1), chance.randrange(near + 1), len(broken) - chance.randrange(near + 1))
    )


def _flip(broken: bytearray, chance: random.Random, _: list[bytes]) -> None:
    if broken:
        broken[min(_place(broken, chance), len(broken) - 1)] ^= 1 << chance.randrange(8)


def _overwrite(broken: bytearray, chance: random.Random, _: list[bytes]) -> None:
    place = _place(broken, chance)
    length = chance.choice((1, 2, 4, 16, 200))
    broken[place : place + length] = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length)))


def _number(broken: bytearray, chance: random.Random, _: list[bytes]) -> None:
    place, size = _place(broken, chance), chance.choice((1, 2, 4, 8))
    number = chance.choice(NUMBERS) % 2 ** (8 * size)
    broken[place : place + size] = number.to_bytes(size, chance.choice(("big", "little")))


def _digits(broken: bytearray, chance: random.Random, _: list[bytes]) -> None:
    """A number in the text of a JSON or .npy header becomes another."""
    places = [place for place in range(min(len(broken), 5000)) if 48 <= broken[place] < 58]
    if places:
        place = chance.choice(places)
        broken[place : place + 1] = chance.choice((b"0", b"9", b"-1", b"1e9", b"99999999999", b"null", b'"x"', b"1.5"))


def _cut(broken: bytearray, chance: random.Random, _: list[bytes]) -> None:
    del broken[_place(broken, chance) :]


def _drop(broken: bytearray, chance: random.Random, _: list[bytes]) -> None:
    place = _place(broken, chance)
    del broken[place : place + chance.choice((1, 4, 50, 1000))]


def _repeat(broken: bytearray, chance: random.Random, _: list[bytes]) -> None:
    place, length = _place(broken, chance), chance.choice((1, 8, 100, 2000))
    broken[place:place] = broken[place : place + length] * chance.choice((1, 2, 5))


def _splice(broken: bytearray, chance: random.Random, others: list[bytes]) -> None:
    other = chance.choice(others)
    broken[_place(broken, chance) :] = other[chance.randrange(len(other)) :]


WAYS = (_flip, _flip, _overwrite, _number, _number, _digits, _cut, _drop, _repeat, _splice)
