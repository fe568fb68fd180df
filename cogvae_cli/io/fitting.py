"""Frames brought to square pixels and to the size that was asked for: scaled, then cropped or padded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from cogvae_cli.errors import VideoError
from cogvae_cli.io.colours import EXACT
from cogvae_cli.io.read_options import ReadOptions

NEARLY_SQUARE = Fraction(1, 100)
"""Pixels whose sides differ by less count as square."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes are (width, height), offsets (x, y) of the scaled frame in the one given out: negative ones crop."""

    scaled: tuple[int, int]
    offset: tuple[int, int]
    out: tuple[int, int]


def plan_of(size: tuple[int, int], aspect: Fraction, options: ReadOptions) -> Plan:
    """What is done to frames of that size whose pixels are `aspect` times as wide as high.

    Raises VideoError where the outcome has more pixels than is allowed.
    """
    width, height = square_size(size, aspect)
    out = nearest_bucket((width, height), options.buckets) if options.buckets else options.size
    if out is None:
        _check(width, height, options.max_pixels)
        return Plan((width, height), (0, 0), (width, height))
    out_width, out_height = out
    across, down = Fraction(out_width, width), Fraction(out_height, height)
    if options.fit != "stretch":
        across = down = max(across, down) if options.fit == "cover" else min(across, down)
    scaled = max(1, round(width * across)), max(1, round(height * down))
    _check(*scaled, 4 * options.max_pixels)  # a strip that covers a square is scaled to far more than is shown
    return Plan(scaled, ((out_width - scaled[0]) // 2, (out_height - scaled[1]) // 2), out)


def nearest_bucket(size: tuple[int, int], buckets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The bucket whose ratio of width to height is nearest, by factor; of equals the one nearest in pixels."""

    def distance(bucket: tuple[int, int]) -> tuple[float, float]:
        (width, height), (of_width, of_height) = bucket, size
        pixels = width * height / (of_width * of_height)
        return abs(math.log(width * of_height / (height * of_width))), abs(math.log(pixels))

    return min(buckets, key=distance)


def square_size(size: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
    """Size of a frame once its pixels are square: the height stays."""
    width, height = size
    return size if abs(aspect - 1) <= NEARLY_SQUARE else (max(1, round(width * aspect)), height)


def _check(width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise VideoError(
            f"with square pixels a frame has {width}x{height} pixels, over the limit of {limit:,}",
            hint="raise the limit with --max-pixels",
        )


class Fitter:
    """Applies one plan to the frames of a video."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._reformatter = VideoReformatter()

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """uint8 [H W 3] -> [H' W' 3]."""
        height, width, _ = frame.shape
        scaled = frame if (width, height) == self._plan.scaled else self._scale(frame)
        if self._plan.out == self._plan.scaled:
            return scaled
        out = np.zeros((self._plan.out[1], self._plan.out[0], 3), np.uint8)
        x, y = self._plan.offset
        kept = scaled[max(0, -y) : max(0, -y) + out.shape[0], max(0, -x) : max(0, -x) + out.shape[1]]
        out[max(0, y) : max(0, y) + kept.shape[0], max(0, x) : max(0, x) + kept.shape[1]] = kept
        return out

    def _scale(self, frame: np.ndarray) -> np.ndarray:
        width, height = self._plan.scaled
        source = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        scaled = self._reformatter.reformat(source, width=width, height=height, interpolation=EXACT, threads=1)
        return np.ascontiguousarray(scaled.to_ndarray())
