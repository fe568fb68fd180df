"""How a video is read: which part of it, at which rate and size, and what is done about what isn't plain."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from cogvae_cli.errors import UsageError
from cogvae_cli.io.rates import checked_rate

Alpha = Literal["black", "white", "drop"]
Hdr = Literal["refuse", "tonemap"]
OnError = Literal["fail", "keep"]
Fit = Literal["cover", "contain", "stretch"]
Matrix = Literal["bt601", "bt709", "bt2020"]

MAX_PIXELS = 35_400_000
"""Pixels of a frame that are read unless asked otherwise: 8192x4320."""

_LONGEST = 10**9  # seconds, frames and pixels of a side: beyond it somebody mistyped


@dataclass(frozen=True)
class Window:
    """Which frames of a longer video become clips; the first ones without it."""

    kind: Literal["center", "all", "every"]
    stride: int | None = None
    """Frames from the start of a clip to that of the next one; None: the clips touch."""

    @classmethod
    def parse(cls, text: str) -> Window | None:
        """`first` (None), `center`, `all`, or `every:K`. Raises UsageError."""
        if text == "first":
            return None
        if text == "center":
            return cls("center")
        if text == "all":
            return cls("all")
        if match := re.fullmatch(r"every:([1-9][0-9]{0,8})", text):
            return cls("every", int(match[1]))
        raise UsageError(f"{text!r} is no window", "give first, center, all, or every:K, a clip every K frames")

    @property
    def is_many(self) -> bool:
        """Whether one video can become several clips."""
        return self.kind != "center"

    def __str__(self) -> str:
        return self.kind if self.stride is None else f"{self.kind}:{self.stride}"


@dataclass(frozen=True)
class ReadOptions:
    """All that can be asked of a reader. Raises UsageError for values that make no sense."""

    fps: Fraction | None = None
    """Resample to that many frames a second, by time; of pictures without times it is the rate."""
    start: Fraction | None = None
    """Seconds from the first frame: earlier ones are left out."""
    duration: Fraction | None = None
    """Seconds that are read from there on."""
    frames: int | None = None
    """At most that many frames are given out."""
    stream: int | None = None
    """Number of the video stream in the file; None: the one that FFmpeg holds for the main one."""
    autorotate: bool = True
    """Show frames as the display matrix says; otherwise as they are stored."""
    colorspace: Matrix | None = None
    """Matrix to convert by, whatever the file says."""
    alpha: Alpha = "black"
    """Colour behind transparent pixels; `drop` shows the colour that is stored in them."""
    hdr: Hdr = "refuse"
    deinterlace: bool = False
    max_pixels: int = MAX_PIXELS
    """Bound on a frame, before any is decoded, and on what becomes of it."""
    on_error: OnError = "fail"
    """`keep` gives out the good frames before a fault and ends there."""
    size: tuple[int, int] | None = None
    """Width and height of the frames that are given out; None: their own, with square pixels."""
    fit: Fit = "cover"
    """How they come to that size: `cover` crops, `contain` pads with black, `stretch` does neither."""
    buckets: tuple[tuple[int, int], ...] = ()
    """Widths and heights to choose from, instead of one size: frames get the one of the nearest shape."""
    mirror: bool = False
    """Give the frames out with left and right exchanged."""
    window: Window | None = None
    """Which `frames` of a longer video are taken; None: the first ones."""
    skip: int = 0
    """Frames that are left out before those, as the window has it; never asked for by itself."""

    def __post_init__(self) -> None:
        if self.fps is not None:
            checked_rate(self.fps)
        if self.start is not None and not 0 <= self.start <= _LONGEST:
            raise UsageError(f"a start at {float(self.start):g} s is not within 0 to {_LONGEST} s")
        if self.duration is not None and not 0 < self.duration <= _LONGEST:
            raise UsageError(f"a duration of {float(self.duration):g} s is not within 0 to {_LONGEST} s")
        for name, value in (("frames", self.frames), ("max_pixels", self.max_pixels)):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; at least 1 is needed")
        if self.stream is not None and self.stream < 0:
            raise UsageError(f"there is no stream {self.stream}: they are counted from 0")
        if self.window is not None and self.frames is None:
            raise UsageError(f"--window {self.window} needs the length of a clip", "give it with --frames, say 49")
        self._check_size()

    def _check_size(self) -> None:
        if self.size is not None and self.buckets:
            raise UsageError("a size and buckets to choose it from were both given", "leave one of them out")
        for size in (self.size, *self.buckets):
            if size is not None:
                self._check_one_size(*size)

    def _check_one_size(self, width: int, height: int) -> None:
        if not (0 < width <= _LONGEST and 0 < height <= _LONGEST):
            raise UsageError(f"a size of {width}x{height} pixels makes no sense")
        if width * height > self.max_pixels:
            raise UsageError(
                f"{width}x{height} pixels are over the limit of {self.max_pixels:,}", "raise it with --max-pixels"
            )

    @property
    def stride(self) -> int:
        """Frames from the start of a window to that of the next."""
        return (self.window.stride if self.window else None) or self.frames or 1

    @property
    def selects(self) -> bool:
        """Whether frames are left out or repeated."""
        return any(value is not None for value in (self.fps, self.start, self.duration, self.frames))


PLAIN = ReadOptions()
"""Everything, as it is."""


def parse_seconds(text: str) -> Fraction:
    """Seconds of `12.5`, `1:02.5` or `1:00:00`, exact. Raises UsageError."""
    parts = text.strip().split(":")
    plain = all(re.fullmatch(r"[0-9]{1,12}", part) for part in parts[:-1])
    if len(parts) > 3 or not plain or not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12}", parts[-1]):
        raise UsageError(f"{text!r} is not a time", hint="give seconds, 12.5, or 1:02:03.5")
    units = (1, 60, 3600)
    return sum((Fraction(part) * unit for part, unit in zip(reversed(parts), units, strict=False)), Fraction(0))


def seconds_text(value: Fraction) -> str:
    """`12.5`: a decimal where that is exact, else a fraction, `1001/30000`."""
    scaled = value * 10**9
    if scaled.denominator != 1:
        return str(value)
    return f"{math.floor(value)}.{scaled.numerator % 10**9:09d}".rstrip("0").rstrip(".")
