"""When frames are shown: the time stamps of a video, its rate, and whether the rate varies."""

from __future__ import annotations

import dataclasses
import itertools
from array import array
from collections.abc import Sequence
from fractions import Fraction

from cogvae_cli.io.rates import snapped

FALLBACK_RATE = Fraction(25)
"""Rate of a video whose file names none and whose frames have no time stamps."""

_LONGEST_GAP, _BACK = 10, Fraction(1, 10)
"""Seconds by which time stamps of one part may go on or, out of order, back."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """Times of all frames of a video, known when it was read to its end."""

    frames: int
    rate: Fraction
    """Frames a second: the constant rate, or the mean one where it varies."""
    variable: bool
    times: tuple[Fraction, ...] | None
    """Seconds from the first frame to each frame; only where the rate varies."""


class Joints:
    """Puts parts of a recording end to end whose time stamps start anew: a transport stream that was cut or joined."""

    def __init__(self, tick: Fraction) -> None:
        """Takes the stamps' unit in seconds."""
        self._most, self._least = _LONGEST_GAP / tick, -_BACK / tick
        self._shift, self._step = 0, 1
        self._last: int | None = None
        self.count = 0
        """How many there were so far."""

    def joined(self, stamp: int) -> int:
        """The stamp of the next frame that is shown, counted on from the part before."""
        shown = stamp + self._shift
        if self._last is not None:
            step = shown - self._last
            if step > self._most or step < self._least:
                shown = self._last + self._step
                self._shift = shown - stamp
                self.count += 1
            else:
                self._step = max(1, step)
        self._last = shown
        return shown


class Clock:
    """Collects the time stamp of one frame after the other, in presentation order."""

    def __init__(self, tick: Fraction | None, rates: Sequence[Fraction | None]) -> None:
        """Takes the stamps' unit in seconds, and the rates that the file names, best first."""
        self._tick = tick
        self._rates = [rate for rate in rates if rate is not None]
        self._stamps = array("q")  # 8 bytes a frame: a day of video has millions
        self._unstamped = False

    def add(self, stamp: int | None) -> None:
        """Takes the next frame's time stamp in ticks; None where the file has none."""
        self._unstamped = self._unstamped or stamp is None
        self._stamps.append(0 if stamp is None else stamp)

    def timing(self) -> tuple[Timing, str | None]:
        """The times of all frames, and a notice where the stamps can't be used and the rate was taken instead."""
        stamps = self._stamps
        count = len(stamps)
        named = snapped(self._rates[0]) if self._rates else FALLBACK_RATE
        constant = Timing(frames=count, rate=named, variable=False, times=None)
        if count <= 1:
            return constant, None if self._rates else f"the file names no frame rate; {named} is taken"
        if self._tick is None or self._unstamped:
            return constant, f"frames have no time stamps; {named} frames a second is taken"
        if any(later <= earlier for earlier, later in itertools.pairwise(stamps)):
            return constant, f"time stamps stand still or run back; {named} frames a second is taken"
        return _from_stamps(stamps, self._tick, self._rates), None


def _from_stamps(stamps: Sequence[int], tick: Fraction, rates: list[Fraction]) -> Timing:
    count = len(stamps)
    mean = (count - 1) / ((stamps[-1] - stamps[0]) * tick)
    for rate in (*rates, mean):
        for candidate in dict.fromkeys((snapped(rate), rate)):
            if _is_constant(stamps, tick, candidate):
                return Timing(frames=count, rate=candidate, variable=False, times=None)
    times = tuple((stamp - stamps[0]) * tick for stamp in stamps)
    return Timing(frames=count, rate=snapped(_plain(mean)), variable=True, times=times)


def _plain(rate: Fraction) -> Fraction:
    """A fraction of small numbers near a mean rate; never 0, as of frames that are shown for hours each."""
    return rate.limit_denominator(1001) if rate > 1 else 1 / (1 / rate).limit_denominator(1001)


def _is_constant(stamps: Sequence[int], tick: Fraction, rate: Fraction) -> bool:
    """Whether every stamp is within rounding of that rate: one tick, and less than half a frame."""
    period = 1 / (rate * tick)  # ticks of one frame
    slack = min(Fraction(1), period / 2 - Fraction(1, 1000))
    # In whole numbers, a small part of the work that fractions are: both sides times both denominators.
    start, each, unit = stamps[0], period.numerator * slack.denominator, period.denominator * slack.denominator
    most = slack.numerator * period.denominator
    return all(abs((stamp - start) * unit - index * each) <= most for index, stamp in enumerate(stamps))
