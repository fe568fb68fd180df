"""What a report needs of the frames while they go by: errors by place, frames worth showing, two films, VMAF."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from cogvae_cli.io.perceptual import Perceptual
    from cogvae_cli.io.video_writer import VideoWriter
    from cogvae_cli.report.error_places import ErrorPlaces
    from cogvae_cli.report.kept_frames import Shown

FILM_CRF, FILM_PRESET = 20, "veryfast"
FILM_SIDE = 16_384
"""Pixels beyond which H.264 can't go; then there are no films."""


@dataclass(frozen=True)
class Pair:
    """The next frames of both videos, uint8 [T H W 3], and their errors."""

    original: np.ndarray
    result: np.ndarray
    mse: np.ndarray
    """[T], 8-bit units."""
    squared: np.ndarray
    """[H' W'], as `error_by_pixel` sums it up; H' and W' are at least H and W."""


@dataclass(frozen=True)
class Recorded:
    """What came of it."""

    places: ErrorPlaces
    perceptual: Perceptual
    shown: dict[str, tuple[int, Shown]] = field(default_factory=dict)
    """`best`, `median` and `worst` frame: their numbers and pictures. Empty without a page."""
    films: tuple[Path, ...] = ()
    """Original and result as H.264 in MP4, of the same frames at the same times. Empty without a page."""
    film_rate: Fraction = Fraction(25)
    """Frames a second of the films, which is constant."""


class Recorder:
    """Takes pairs of frames from their first to their last; memory doesn't grow with length.

    A context manager. `folder` is where films are made; None: no page is wanted, so no films and no pictures.
    """

    def __init__(self, width: int, height: int, rate: Fraction, folder: Path | None) -> None:
        from cogvae_cli.report.error_places import PlaceMeter
        from cogvae_cli.report.kept_frames import FrameKeeper

        self._size = (width, height)
        self._rate = rate
        self._folder = folder
        self._places = PlaceMeter(height, width)
        self._keeper = FrameKeeper()
        self._writers: list[VideoWriter] = []
        self._films: tuple[Path, ...] = ()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        from cogvae_cli.io.perceptual import PerceptualMeter

        with ExitStack() as stack:
            self._meter = stack.enter_context(PerceptualMeter(*self._size))
            if self._folder is not None and max(self._size) <= FILM_SIDE:
                self._films = tuple(self._folder / f"{name}.mp4" for name in ("original", "result"))
                self._writers = [stack.enter_context(self._film(path)) for path in self._films]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, pair: Pair) -> None:
        """Takes the next frames."""
        from cogvae_cli.report.kept_frames import shown

        self._places.add(pair.squared, len(pair.original))
        self._meter.add(pair.original, pair.result)
        for writer, frames in zip(self._writers, (pair.original, pair.result), strict=False):
            writer.write(frames)
        if self._folder is not None:
            for original, result, mse in zip(pair.original, pair.result, pair.mse.tolist(), strict=True):
                self._keeper.add(mse, functools.partial(shown, original, result))

    def finish(self) -> Recorded:
        """Ends the films and the measuring. Call it once, after the last frames and before leaving."""
        perceptual = self._meter.finish()
        self._stack.close()
        kept = {} if self._folder is None else self._keeper.chosen()
        return Recorded(self._places.places(), perceptual, kept, self._films, self._rate)

    def _film(self, path: Path) -> VideoWriter:
        from cogvae_cli.io.video_writer import VideoWriter
        from cogvae_cli.io.write_options import WriteOptions

        options = WriteOptions(*self._size, self._rate, "mp4", crf=FILM_CRF, preset=FILM_PRESET, pix_fmt="yuv420p")
        return VideoWriter(path, options)
