"""How a video is written: size, times, container, codec and sound, checked against each other before anything runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from cogvae_cli.errors import UsageError
from cogvae_cli.io.codecs import FORMATS, PICTURES, Codec, codec_of, encoder_options, listed
from cogvae_cli.io.rates import checked_rate

_FINEST = 1_000_000  # parts of a second that times are kept in where the container can: MP4's clock has 32 bits
_COARSE = 90_000
_UNITS = {"mkv": Fraction(1, 1000), "webm": Fraction(1, 1000), "gif": Fraction(1, 100)}
_MOST_GIF_RATE = 100


@dataclasses.dataclass(frozen=True)
class WriteOptions:
    """How a video is written. `container` is a suffix. Raises UsageError for what doesn't go together."""

    width: int
    height: int
    rate: Fraction
    container: str = "mp4"
    crf: int | None = None
    """Quality; None: the codec's default, for H.264 18."""
    pix_fmt: str | None = None
    """None: of even sizes 4:2:0, of odd ones what can hold them."""
    codec: str | None = None
    """None: what is usual in the container."""
    preset: str | None = None
    times: tuple[Fraction, ...] | None = None
    """Seconds at which each frame is shown, where the rate varies; later ones are never earlier."""
    audio: Path | None = None
    """A file whose sound is copied."""
    audio_start: Fraction = Fraction(0)
    """Seconds of that file's video that lie before the first frame."""

    def __post_init__(self) -> None:
        if self.container not in FORMATS:
            raise UsageError(f"a video can't be written as {self.container}", f"choose {listed(FORMATS)}")
        checked_rate(self.rate)
        if self.width < 1 or self.height < 1:
            raise UsageError(f"a video can't have {self.width}x{self.height} pixels")
        codec = self.codec_facts
        if codec is None:
            self._check_without_codec()
            return
        if not all(codec.least_side <= side <= codec.most_side for side in (self.width, self.height)):
            raise UsageError(
                f"{codec.title} can't hold {self.width}x{self.height}: "
                f"a side has {codec.least_side} to {codec.most_side} pixels"
            )
        if self.pixel_format not in codec.pix_fmts:
            raise UsageError(f"{codec.title} isn't written as {self.pix_fmt}", f"choose {listed(codec.pix_fmts)}")
        encoder_options(codec, self.crf, self.preset, self.pixel_format)

    def _check_without_codec(self) -> None:
        for name, value in (("crf", self.crf), ("preset", self.preset), ("pix-fmt", self.pix_fmt)):
            if value is not None:
                raise UsageError(f"{self.container} has no {name} to choose", f"leave out --{name}")
        if self.audio is not None:
            raise UsageError(f"{self.container} holds no sound", "leave out --audio")
        if self.container == "gif" and self.rate > _MOST_GIF_RATE:
            raise UsageError(f"a GIF can't show {self.rate} frames a second", f"at most {_MOST_GIF_RATE}")
        most = 65_535 if self.container == "gif" else 2**31 - 1
        if max(self.width, self.height) > most:
            raise UsageError(f"{self.container} can't hold {self.width}x{self.height}")

    @property
    def codec_facts(self) -> Codec | None:
        return codec_of(self.codec, self.container)

    @property
    def is_odd(self) -> bool:
        return bool(self.width % 2 or self.height % 2)

    @property
    def pixel_format(self) -> str:
        """Pixel format that is written."""
        codec = self.codec_facts
        if codec is None:
            return "rgb24"
        if self.pix_fmt is None and self.preset is not None and self.preset.startswith("4444"):
            return "yuv444p10le"
        return self.pix_fmt or (codec.odd_pix_fmt if self.is_odd else codec.pix_fmts[0])

    @property
    def padding(self) -> tuple[int, int]:
        """Columns and rows that are repeated because the format takes even sizes only."""
        codec, pix_fmt = self.codec_facts, self.pixel_format
        if codec is None or not codec.needs_even:
            return 0, 0
        across = self.width % 2 if pix_fmt.startswith(("yuv420", "yuv422")) else 0
        return across, self.height % 2 if pix_fmt.startswith("yuv420") else 0

    @property
    def is_rgb(self) -> bool:
        return not self.pixel_format.startswith("yuv")

    @property
    def is_pictures(self) -> bool:
        return self.container == PICTURES


@dataclasses.dataclass(frozen=True)
class Ticks:
    """Times of frames in units of a container's clock."""

    unit: Fraction
    """Seconds."""
    times: tuple[int, ...] | None
    """None: frame i begins at round(i * step)."""
    step: Fraction
    """Ticks of a frame, on average."""

    def begin(self, frame: int) -> int:
        if self.times is None:
            return round(frame * self.step)
        return self.times[frame]

    def length(self, frame: int) -> int:
        """Ticks for which a frame is shown; of the last one the mean."""
        if self.times is None:
            return self.begin(frame + 1) - self.begin(frame)
        if frame + 1 < len(self.times):
            return self.times[frame + 1] - self.times[frame]
        return max(1, round(self.step))


def ticks_of(options: WriteOptions) -> Ticks:
    """The clock that the container keeps times exactly by, or next to it; no two frames get the same time."""
    rate, times = options.rate, options.times
    if times is None:
        unit = Fraction(1, 100) if options.container == "gif" else 1 / rate
        return Ticks(unit, None, 1 / (rate * unit))
    unit = _UNITS.get(options.container) or _unit_of(times)
    rounded = [round((time - times[0]) / unit) for time in times]
    for index in range(1, len(rounded)):
        rounded[index] = max(rounded[index], rounded[index - 1] + 1)
    return Ticks(unit, tuple(rounded), 1 / (rate * unit))


def _unit_of(times: Sequence[Fraction]) -> Fraction:
    parts = 1
    for time in times:
        parts = math.lcm(parts, time.denominator)
        if parts > _FINEST:
            return Fraction(1, _COARSE)
    return Fraction(1, parts)
