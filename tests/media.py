"""Videos made for tests: frames whose number can be read back after lossy coding, solid colours, patterns.

The number of a frame is drawn as grey waves that drift sideways, one band of the picture a wave. A band repeats itself
after 32, 36 or 2048 frames, so that the phases of all bands together belong to one number only. Phases survive a loss
of contrast, and the drift is slow enough for a coder that keeps four frames in one latent: the built-in model reads
back within 0.4 of a frame, where a code of blocks that flip is lost.
"""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

LIMIT = 2048
"""Numbers that a frame can have: 0 to 2047."""

_PERIODS = (32, 36, 2048)
_CONTRAST = 60
_WAVE = 64  # pixels, about

MATRICES = {"bt601": (0.299, 0.114, 6), "bt709": (0.2126, 0.0722, 1), "bt2020": (0.2627, 0.0593, 9)}
"""Weights of red and of blue in luma, and the number of the matrix by H.273."""


@dataclasses.dataclass(frozen=True)
class Coding:
    """How a test video is coded. Tags are numbers of H.273; 2 says nothing."""

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    full: bool | None = None
    muxer_options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    muxer: str | None = None


LOSSLESS = Coding(codec="ffv1", pix_fmt="bgr0")
"""To the bit; for mkv."""


def numbered(numbers: Iterable[int], width: int, height: int) -> np.ndarray:
    """Frames that show these numbers, uint8 [T H W 3], grey. At least 32 pixels wide and 24 high."""
    n = np.array(list(numbers))
    if n.size and not (n.min() >= 0 and n.max() < LIMIT):
        raise ValueError(f"numbers from {n.min()} to {n.max()}, not within 0 to {LIMIT - 1}")
    x = 2 * np.pi * _waves(width) * np.arange(width) / width
    grey = np.empty((len(n), height, width), np.uint8)
    for band, rows in enumerate(_bands(height)):
        wave = 128 + _CONTRAST * np.sin(x - _phases(n, band)[:, None])  # [T W]
        grey[:, rows] = np.round(wave)[:, None]
    return np.repeat(grey[..., None], 3, axis=3)


def read_numbers(frames: Iterable[np.ndarray]) -> list[int]:
    """The number that each frame shows; frames are [T H W 3], or an iterable of [H W 3], of the size they were made."""
    return [int(_scores(frame)[1:-1].argmax()) for frame in frames]


def read_positions(frames: Iterable[np.ndarray]) -> list[float]:
    """The number that each frame shows, with parts of a frame, for codes that smear motion over time."""
    return [_position(_scores(frame)) for frame in frames]


def are_in_order(frames: Iterable[np.ndarray], count: int) -> bool:
    """Whether these are the frames 0, 1, … count - 1, each once, in that order, as good as the built-in model shows.

    The model eases out of a motion that stops: the last frame before the padding can show the motion a frame late. So
    every frame has to be beyond the one before it, all but three within half a frame of their place, and those near.
    """
    positions = np.array(read_positions(frames))
    if len(positions) != count:
        return False
    errors = np.abs(positions - np.arange(count))
    return bool((np.diff(positions) > 0).all() and errors.max() < 1.3 and (errors > 0.5).sum() <= 3)


def _position(scores: np.ndarray) -> float:
    best = int(scores[1:-1].argmax())
    before, top, after = scores[best : best + 3]
    return best + float((before - after) / (2 * (before + after - 2 * top)))


def _scores(frame: np.ndarray) -> np.ndarray:
    """How well the frame fits each number from -1 to LIMIT."""
    height, width, _ = frame.shape
    numbers = np.arange(-1, LIMIT + 1)
    scores = np.zeros(len(numbers))
    turn = np.exp(-2j * np.pi * _waves(width) * np.arange(width) / width)
    for band, rows in enumerate(_bands(height)):
        margin = (rows.stop - rows.start) // 6  # neighbours bleed into each other
        line = frame[rows.start + margin : rows.stop - margin].mean((0, 2))
        phase = -np.angle(1j * (line * turn).mean())
        scores += np.cos(phase - _phases(numbers, band))
    return scores


def _bands(height: int) -> list[slice]:
    count = 3 if height < 96 else 6
    return [slice(height * band // count, height * (band + 1) // count) for band in range(count)]


def _waves(width: int) -> int:
    return max(1, round(width / _WAVE))


def _phases(numbers: np.ndarray, band: int) -> np.ndarray:
    return 2 * np.pi * numbers / _PERIODS[band % 3] + 2 * (band % 3) + 1.3 * (band // 3)


def write_numbered(
    path: Path,
    count: int,
    size: tuple[int, int] = (64, 48),
    rate: Fraction | int = 25,
    coding: Coding = Coding(),
) -> Path:
    """A video of `count` frames that show 0, 1, 2, …; `size` is (width, height). Gives the path back."""
    frames = (numbered([number], *size)[0] for number in range(count))
    return write_frames(path, frames, rate, coding)


def write_frames(
    path: Path,
    frames: Iterable[np.ndarray],
    rate: Fraction | int = 25,
    coding: Coding = Coding(),
    ticks: Sequence[int] | None = None,
) -> Path:
    """A video of RGB frames, each uint8 [H W 3], shown at `ticks` of 1/rate seconds (0, 1, 2, … if not given)."""
    converted = (av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24") for frame in frames)
    return _write(path, converted, rate, coding, ticks)


def write_solid(path: Path, colour: tuple[int, int, int], size: tuple[int, int], matrix: str, coding: Coding) -> Path:
    """Five frames of one colour, converted here by the matrix's definition; whether it is tagged is up to `coding`."""
    planes = _solid_planes(colour, MATRICES[matrix], coding)
    frames = (_filled(planes, size, coding.pix_fmt) for _ in range(5))
    return _write(path, frames, 25, coding, None)


def _solid_planes(colour: tuple[int, int, int], matrix: tuple[float, float, int], coding: Coding) -> list[int]:
    weight_red, weight_blue, _ = matrix
    red, green, blue = (part / 255 for part in colour)
    luma = weight_red * red + (1 - weight_red - weight_blue) * green + weight_blue * blue
    chroma = ((blue - luma) / (2 - 2 * weight_blue), (red - luma) / (2 - 2 * weight_red))
    depth = 10 if "10" in coding.pix_fmt else 8
    if coding.full or coding.pix_fmt.startswith("yuvj"):
        top, half = 2**depth - 1, 2 ** (depth - 1)
        return [round(luma * top), *(min(top, round(half + part * top)) for part in chroma)]
    step = 2 ** (depth - 8)
    return [round((16 + 219 * luma) * step), *(round((128 + 224 * part) * step) for part in chroma)]


def _filled(planes: list[int], size: tuple[int, int], pix_fmt: str) -> av.VideoFrame:
    frame = av.VideoFrame(*size, pix_fmt)
    kind = np.uint16 if "10" in pix_fmt else np.uint8
    for plane, value in zip(frame.planes, planes, strict=True):
        plane.update(np.full(plane.buffer_size // kind().nbytes, value, kind).tobytes())
    return frame


def _write(
    path: Path, frames: Iterable[av.VideoFrame], rate: Fraction | int, coding: Coding, ticks: Sequence[int] | None
) -> Path:
    rate = Fraction(rate)
    muxing = {"format": coding.muxer, "options": dict(coding.muxer_options)}
    with av.open(f"file:{path.absolute()}", mode="w", **muxing) as container:
        stream = container.add_stream(coding.codec, rate=rate)
        stream.pix_fmt = coding.pix_fmt
        stream.time_base = stream.codec_context.time_base = 1 / rate
        context = stream.codec_context
        context.options = dict(coding.options)
        context.colorspace = coding.matrix
        context.color_primaries, context.color_trc = coding.primaries, coding.transfer
        context.color_range = 0 if coding.full is None else 1 + coding.full
        for index, frame in enumerate(frames):
            if index == 0:
                stream.width, stream.height = frame.width, frame.height
            frame = frame.reformat(format=coding.pix_fmt)
            frame.colorspace, frame.color_range = coding.matrix, context.color_range
            frame.pts, frame.time_base = (index if ticks is None else ticks[index]), 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def spoil_pictures(path: Path, which: slice) -> None:
    """Fills the data of some packets of a video's first stream with ones, behind the length of their first unit."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in packets[which]:
        data[position + 4 : position + size] = b"\xff" * (size - 4)
    path.write_bytes(data)


def ffmpeg(*arguments: str | Path, seconds: int = 60) -> None:
    """Runs ffmpeg for what PyAV can't write: display matrices, edit lists, streams cut and joined; at most so long."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=seconds, capture_output=True)


def quarters(size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """One frame, uint8 [H W 3], whose four quarters differ, so that any turn or mirroring shows."""
    width, height = size
    frame = np.zeros((height, width, 3), np.uint8)
    frame[: height // 2, : width // 2] = 220, 40, 40
    frame[: height // 2, width // 2 :] = 40, 200, 40
    frame[height // 2 :, : width // 2] = 50, 50, 220
    frame[height // 2 :, width // 2 :] = 230, 230, 230
    return frame
