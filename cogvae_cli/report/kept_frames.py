"""Frames that are worth showing: the best, the worst, and one near the median, picked while a clip goes by."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

MOST_KEPT = 16
LONGEST_SIDE = 960
"""Frames larger than that are kept smaller, for they are shown smaller."""


@dataclass(frozen=True)
class Shown:
    """One frame, uint8 [H W 3] each: as it went in, as it came back, and the difference made visible."""

    original: np.ndarray
    result: np.ndarray
    difference: np.ndarray
    """Absolute difference, taken at full size and made smaller after."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width, _ = self.original.shape
        return width, height


@dataclass(frozen=True)
class _Kept:
    mse: float
    frame: int
    pictures: Shown


class FrameKeeper:
    """Keeps at most MOST_KEPT frames of a clip of any length, spread over the ranks of their errors.

    The frames with the least and the largest error are always among them. When there are too many, that one goes
    whose neighbours have the fewest frames of the clip between them: at most 2 / (MOST_KEPT - 1) of all. So no gap is
    wider, and the frame nearest to the median is at most half of that away; a clip of up to MOST_KEPT frames is kept
    whole.
    """

    def __init__(self) -> None:
        self._errors: list[tuple[float, int]] = []  # of all frames, sorted
        self._kept: list[_Kept] = []  # likewise

    def add(self, mse: float, pictures: Callable[[], Shown]) -> None:
        """Takes the next frame's mean squared error; its pictures are made only if it is kept."""
        key = (mse, len(self._errors))
        bisect.insort(self._errors, key)
        place = bisect.bisect([(kept.mse, kept.frame) for kept in self._kept], key)
        if len(self._kept) < MOST_KEPT:
            self._kept.insert(place, _Kept(*key, pictures()))
            return
        keys = [(kept.mse, kept.frame) for kept in self._kept]
        keys.insert(place, key)
        ranks = [bisect.bisect_left(self._errors, other) for other in keys]
        gone = min(range(1, len(keys) - 1), key=lambda index: ranks[index + 1] - ranks[index - 1])
        if gone == place:
            return
        self._kept.insert(place, _Kept(*key, pictures()))
        del self._kept[gone]

    def chosen(self) -> dict[str, tuple[int, Shown]]:
        """`best`, `median` and `worst`, each with the frame's number; fewer names for a clip of fewer frames."""
        if not self._kept:
            raise ValueError("no frame was kept")
        middle = (len(self._errors) - 1) / 2
        ranks = [bisect.bisect_left(self._errors, (kept.mse, kept.frame)) for kept in self._kept]
        median = min(range(len(ranks)), key=lambda index: abs(ranks[index] - middle))
        picks = {"best": 0, "median": median, "worst": len(self._kept) - 1}
        names: dict[int, str] = {}
        for name, index in (("best", picks["best"]), ("worst", picks["worst"]), ("median", picks["median"])):
            names.setdefault(index, name)
        order = ("best", "median", "worst")
        found = {name: (self._kept[index].frame, self._kept[index].pictures) for index, name in names.items()}
        return {name: found[name] for name in order if name in found}


def shown(original: np.ndarray, result: np.ndarray) -> Shown:
    """The pictures of one frame, uint8 [H W 3] each, made smaller if they are larger than a page shows."""
    difference = np.abs(original.astype(np.int16) - result.astype(np.int16))
    factor = -(-max(original.shape[:2]) // LONGEST_SIDE)
    return Shown(*(_smaller(frame, factor) for frame in (original, result, difference.astype(np.uint8))))


def amplification(pictures: Iterable[Shown]) -> int:
    """How many times brighter differences are shown, the same for all of these: 1, 2, 4, up to 64.

    A usual difference, that of the root of the mean square, becomes about a quarter of white.
    """
    squares = [float(np.mean(np.square(shown.difference.astype(np.float64)))) for shown in pictures]
    usual = math.sqrt(math.fsum(squares) / len(squares))
    return 2 ** min(6, max(0, round(math.log2(64 / usual)))) if usual else 1


def amplified(difference: np.ndarray, factor: int) -> np.ndarray:
    """A difference that can be seen, clipped to 255."""
    return np.asarray(np.minimum(difference.astype(np.int32) * factor, 255), np.uint8)


def _smaller(frame: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of `factor` pixels; what is over at the far edges is left out."""
    if factor == 1:
        return frame.copy()  # not a view, which would keep the whole chunk
    height, width = (side // factor for side in frame.shape[:2])
    if not (height and width):  # a frame of some thousand pixels by one
        return frame[::factor, ::factor].copy()
    squares = frame[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.asarray(np.round(squares.mean(axis=(1, 3))), np.uint8)
