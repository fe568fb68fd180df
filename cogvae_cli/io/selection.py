"""Which frames of a video are given out: a part of it by time, so many frames, another rate."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Self

import av

from cogvae_cli.errors import VideoError
from cogvae_cli.io.rates import exact_fraction
from cogvae_cli.io.read_options import ReadOptions

_MOST_SLACK = Fraction(1, 1000)
_LONGEST = 3600  # seconds that a frame is shown: beyond it the time stamps are broken, and repeating it never ends

Timed = tuple[av.VideoFrame, Fraction]
"""A frame, and the seconds from the first frame of the video to it."""


class FrameTimes:
    """Seconds from the first frame to each, while frames come: by time stamps, by the rate where there are none."""

    def __init__(self, tick: Fraction | None, rate: Fraction, first: int | None = None) -> None:
        """`first` is the time stamp of the video's first frame, where that isn't the first one that comes."""
        self._tick, self._period = tick, 1 / rate
        self._first = first
        self._last: Fraction | None = None

    def of(self, frame: av.VideoFrame) -> Fraction:
        """Of the next frame. Later than the one before it, whatever the stamps say."""
        time = None
        if frame.pts is not None and self._tick is not None:
            if self._first is None:
                self._first = frame.pts
            time = (frame.pts - self._first) * self._tick
        if self._last is not None and (time is None or time <= self._last):
            time = self._last + self._period
        self._last = time or Fraction(0)
        return self._last


def earliest(options: ReadOptions, tick: Fraction | None) -> Fraction:
    """Seconds from the first frame before which nothing that is shown begins, but for the one on the screen then."""
    span = _Span.of(options, tick)
    return span.start - span.slack


def selected(frames: Iterator[Timed], options: ReadOptions, tick: Fraction | None, rate: Fraction) -> Iterator[Timed]:
    """The frames that were asked for, with their times; resampled, a frame may come more than once.

    `tick` is the unit of the time stamps in seconds, `rate` that of the video.
    """
    span = _Span.of(options, tick)
    shown = _part(frames, span) if options.fps is None else _resampled(frames, span, options.fps, 1 / rate)
    end = None if options.frames is None else options.skip + options.frames
    return itertools.islice(shown, options.skip, end) if options.skip or end is not None else shown


@dataclasses.dataclass(frozen=True)
class _Span:
    """Seconds of the video that are wanted, and how far the rounding of a container takes a time stamp off."""

    start: Fraction
    end: Fraction | None
    slack: Fraction

    @classmethod
    def of(cls, options: ReadOptions, tick: Fraction | None) -> Self:
        start = options.start or Fraction(0)
        end = None if options.duration is None else start + options.duration
        return cls(start, end, min((tick or Fraction(0)) / 2, _MOST_SLACK))

    def is_over(self, time: Fraction) -> bool:
        return self.end is not None and time >= self.end - self.slack


def _part(frames: Iterator[Timed], span: _Span) -> Iterator[Timed]:
    for frame, time in frames:
        if span.is_over(time):
            return
        if time >= span.start - span.slack:
            yield frame, time


def _resampled(frames: Iterator[Timed], span: _Span, fps: Fraction, period: Fraction) -> Iterator[Timed]:
    """At each moment the frame that is on the screen then: the latest that has begun."""
    moments = itertools.count()
    moment = span.start + next(moments) / fps
    shown: av.VideoFrame | None = None
    begun = until = Fraction(0)
    for frame, time in frames:
        if shown is not None:
            _check_gap(time - begun)
        while shown is not None and moment < time - span.slack:
            if span.is_over(moment):
                return
            yield shown, moment
            moment = span.start + next(moments) / fps
        shown, begun, until = frame, time, time + _length(frame, period)
    if shown is not None:
        _check_gap(until - begun)
    while shown is not None and moment < until - span.slack and not span.is_over(moment):
        yield shown, moment
        moment = span.start + next(moments) / fps


def _check_gap(seconds: Fraction) -> None:
    if seconds > _LONGEST:
        raise VideoError(
            f"a frame is to be shown for {float(seconds):.0f} s, and --fps would repeat it all that time",
            hint="read it without --fps, which keeps the times as they are",
        )


def _length(frame: av.VideoFrame, period: Fraction) -> Fraction:
    """Seconds for which a frame is shown: what the file says, else the video's mean."""
    tick = exact_fraction(frame.time_base)
    return frame.duration * tick if frame.duration and tick else period
