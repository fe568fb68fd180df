"""Frames as they are given out, of decoded ones: RGB, upright, with square pixels, of the size asked for."""

from __future__ import annotations

import av
import numpy as np

from cogvae_cli.errors import VideoError
from cogvae_cli.io.colours import RgbConverter, facts_of, has_wide_primaries, hdr_of
from cogvae_cli.io.fitting import NEARLY_SQUARE, Fitter, plan_of
from cogvae_cli.io.frame_source import FrameSource
from cogvae_cli.io.light_levels import stated_peak
from cogvae_cli.io.orientation import UPRIGHT, Orientation
from cogvae_cli.io.read_options import ReadOptions


class Finisher:
    """Made by the first frame of a video, which says what all of them are; refuses one that is otherwise."""

    def __init__(self, source: FrameSource, first: av.VideoFrame, options: ReadOptions) -> None:
        """Raises VideoError for what can't be converted, and for what would become too large."""
        self._source, self._options = source, options
        self._stored = (first.width, first.height)
        self._rotation = first.rotation
        self.colour = facts_of(first, options)
        self.turned = source.orientation(first) if options.autorotate else UPRIGHT
        aspect = source.facts.aspect
        self.aspect = 1 / aspect if self.turned.transpose else aspect
        self._plan = plan_of(self.turned.size(*self._stored), self.aspect, options)
        self._hdr = hdr_of(first)
        peak = stated_peak(first, source.facts.codec) if self._hdr == "PQ" else None
        self._converter = RgbConverter(options, peak)
        self._fitter = Fitter(self._plan)
        if peak is not None:
            self._hdr = f"{self._hdr} up to {peak:g} nits"
        self._first_notices = self._notices_of(first)
        self._interlaced = first.interlaced_frame

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames that are given out."""
        return self._plan.out

    def check(self, frame: av.VideoFrame, count: int) -> None:
        """Raises VideoError for a frame that isn't like the first; `count` frames came before it."""
        if (frame.width, frame.height) != self._stored:
            old, new = f"{self._stored[0]}x{self._stored[1]}", f"{frame.width}x{frame.height}"
            raise VideoError(f"its size changes from {old} to {new} after {count} frames")
        if frame.rotation != self._rotation and self._options.autorotate:
            raise VideoError(f"its rotation changes after {count} frames")
        self._interlaced = self._interlaced or frame.interlaced_frame

    def finish(self, frame: av.VideoFrame) -> np.ndarray:
        """RGB as it is shown, uint8 [H W 3]."""
        pixels = self._fitter.apply(self.turned.apply(self._converter.convert(frame)))
        return np.ascontiguousarray(pixels[:, ::-1]) if self._options.mirror else pixels

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know; complete after the last frame."""
        notices = list(self._first_notices)
        if self._interlaced and not self._options.deinterlace:
            notices.append("the video is interlaced, and both fields of a frame are shown at once (--deinterlace)")
        if self._converter.transparent:
            behind = self._options.alpha
            dropped = "transparency is dropped: transparent pixels show the colour stored in them"
            notices.append(dropped if behind == "drop" else f"transparent pixels are shown on {behind} (--alpha)")
        return tuple(notices)

    def record(self) -> dict[str, str]:
        """What was done to the frames, for the header of latents: only what isn't plain."""
        values = {}
        if abs(self.aspect - 1) > NEARLY_SQUARE:
            values["pixel_aspect"] = f"{self.aspect.numerator}:{self.aspect.denominator}"
        if self.turned != UPRIGHT:
            values["orientation"] = _turn_text(self.turned)
        if self._converter.transparent:
            values["alpha"] = self._options.alpha
        if self._hdr:
            values["hdr"] = f"{self._hdr}, tone-mapped"
        return values

    def _notices_of(self, first: av.VideoFrame) -> list[str]:
        notices = []
        if self.colour.assumed:
            matrix = "BT.709" if self.colour.matrix == "bt709" else "BT.601"
            notices.append(f"the file doesn't name its colour matrix; {matrix} is assumed from its height")
        if self._hdr:
            notices.append(f"HDR ({self._hdr}) is made SDR by tone mapping")
        elif has_wide_primaries(first):
            notices.append("colours keep BT.2020's primaries; they are not converted to BT.709's")
        if abs(self.aspect - 1) > NEARLY_SQUARE:
            width, height = self.size
            notices.append(f"pixels are not square ({self.aspect}); frames are stretched to {width}x{height}")
        return notices


def _turn_text(turn: Orientation) -> str:
    names = (("transposed", turn.transpose), ("upside down", turn.mirror_rows), ("mirrored", turn.mirror_columns))
    return ", ".join(name for name, is_done in names if is_done)
