"""How videos are read and written, as the jobs take it: plain values, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from cogvae_cli.errors import UsageError
from cogvae_cli.io.rates import parse_rate as parse_rate
from cogvae_cli.io.read_options import MAX_PIXELS as MAX_PIXELS
from cogvae_cli.io.read_options import ReadOptions as ReadOptions
from cogvae_cli.io.read_options import Window as Window
from cogvae_cli.io.read_options import parse_seconds as parse_seconds

if TYPE_CHECKING:
    from cogvae_cli.io.latents_header import LatentsHeader
    from cogvae_cli.io.write_options import WriteOptions

CONTAINERS = ("mp4", "mov", "mkv", "webm", "gif", "png")
"""What video is written as; `png`: pictures."""


@dataclass(frozen=True)
class VideoOptions:
    """How a video is written; None leaves the choice to the codec, the container or the size."""

    crf: int | None = None
    """Quality: less is better. For H.264 0 to 51, 18 unless given."""
    pix_fmt: str | None = None
    """Pixel format. For H.264 yuv420p, or yuv444p for an odd side, unless given."""
    codec: str | None = None
    """`h264`, `hevc`, `av1`, `vp9`, `ffv1` or `prores`."""
    preset: str | None = None
    """The encoder's speed, or ProRes' profile."""
    container: str | None = None
    """One of CONTAINERS; None: what the output's suffix says."""
    audio: Path | None = None
    """A file whose sound is copied."""

    def write_options(
        self,
        output: Path,
        size: tuple[int, int],
        rate: Fraction,
        times: Sequence[Fraction] | None = None,
        start: Fraction | None = None,
    ) -> WriteOptions:
        """`size` is (width, height), `start` the seconds of the source that come before the first frame.

        Raises UsageError for what the container or the codec can't hold.
        """
        from cogvae_cli.io.codecs import container_of
        from cogvae_cli.io.write_options import WriteOptions

        return WriteOptions(
            *size,
            rate,
            container_of(output, self.container),
            crf=self.crf,
            pix_fmt=self.pix_fmt,
            codec=self.codec,
            preset=self.preset,
            times=None if times is None else tuple(times),
            audio=self.audio,
            audio_start=start or Fraction(0),
        )

    def options_for(self, output: Path, header: LatentsHeader) -> WriteOptions:
        """How the video of these latents is written: of its size, at its times. Raises as `write_options` does."""
        frames, timing = header.frames, header.timing
        return self.write_options(
            output, (frames.width, frames.height), timing.rate, timing.times, start_of(header.settings.get("start"))
        )


def start_of(text: str | None) -> Fraction | None:
    """Where a latents file's header says that its part of the source starts; None where it says nothing of the kind."""
    if text is None:
        return None
    try:
        return parse_seconds(text)
    except UsageError:
        return None  # another program's setting of that name
