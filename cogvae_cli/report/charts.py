"""Charts as numbers that the page's template draws: paths in a square of 1000 by 1000, labels in percent.

The plot is an SVG that stretches with the page; labels stand beside it as text, so that they keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SIDE = 1000
MOST_POINTS = 500
"""Of a line; longer series are drawn as the band between the least and the largest value of each part."""
MOST_MARKS = 80


@dataclass(frozen=True)
class Tick:
    """A label at so many percent from the left or from the bottom."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A line over frames, rows or columns."""

    name: str
    title: str
    text: str
    """What a reader who can't see it is told."""
    line: str
    """Path of the line, or of the middle of the band."""
    band: str
    """Path of the band; empty where every value has a point of its own."""
    marks: tuple[float, ...]
    """Places of borders."""
    stripes: tuple[tuple[float, float], ...]
    """Places and widths of what is shaded."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_label: str


@dataclass(frozen=True)
class Axis:
    """What a series stands over: its name, where borders are, and what is shaded; in numbers of values."""

    label: str
    marks: Sequence[float] = ()
    stripes: Sequence[tuple[float, float]] = ()
    """From, to."""


def line_chart(name: str, title: str, text: str, values: Sequence[float | None], axis: Axis) -> Chart | None:
    """The chart of a series; None where there is no value at all. Gaps stay gaps."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    low, high, y_ticks = _scale(min(there), max(there))
    count = len(values)

    def across(index: float) -> float:
        return round(SIDE * (index + 0.5) / count, 1)

    def up(value: float) -> float:
        return round(SIDE * (high - value) / (high - low), 1)

    edge = [SIDE * mark / count for mark in axis.marks]
    return Chart(
        name=name,
        title=title,
        text=text,
        line=_path([(across(x), up(y)) if y is not None else None for x, y in _middles(values)]),
        band=_band([(across(x), up(least), up(most)) for x, least, most in _extremes(values)]),
        marks=tuple(round(place, 1) for place in edge) if len(edge) <= MOST_MARKS else (),
        stripes=tuple(
            (round(SIDE * start / count, 1), round(SIDE * (stop - start) / count, 1)) for start, stop in axis.stripes
        ),
        x_ticks=tuple(Tick(round(100 * (n + 0.5) / count, 2), str(n)) for n in _places(count)),
        y_ticks=tuple(Tick(round(100 * (tick - low) / (high - low), 2), label) for tick, label in y_ticks),
        x_label=axis.label,
    )


def bar_path(counts: Sequence[int]) -> str:
    """A histogram as one closed path; its highest bar fills the height."""
    top = max(counts, default=0)
    if not top:
        return ""
    width = SIDE / len(counts)
    steps = []
    for index, count in enumerate(counts):
        height = round(SIDE * (1 - count / top))
        steps.append(f"L{round(index * width)} {height}L{round((index + 1) * width)} {height}")
    return f"M0 {SIDE}{''.join(steps)}L{SIDE} {SIDE}Z"


def _step(values: Sequence[float | None]) -> int:
    return -(-len(values) // MOST_POINTS)


def _middles(values: Sequence[float | None]) -> list[tuple[float, float | None]]:
    """Places and means of the parts that a point stands for."""
    step = _step(values)
    points: list[tuple[float, float | None]] = []
    for start in range(0, len(values), step):
        part = values[start : start + step]
        there = [value for value in part if value is not None]
        points.append((start + (len(part) - 1) / 2, math.fsum(there) / len(there) if there else None))
    return points


def _extremes(values: Sequence[float | None]) -> list[tuple[float, float, float]]:
    """Places, least and largest values of the parts that a point stands for; none where that is one value each."""
    step = _step(values)
    if step == 1:
        return []
    points = []
    for start in range(0, len(values), step):
        there = [value for value in values[start : start + step] if value is not None]
        if there:
            points.append((start + (step - 1) / 2, min(there), max(there)))
    return points


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Lines through the points, broken where one is missing; a lone point is a line of no length, drawn as a dot."""
    parts = []
    for before, point in zip((None, *points), points, strict=False):
        if point is not None:
            parts.append(f"{'L' if before is not None else 'M'}{point[0]:g} {point[1]:g}")
            if before is None:
                parts.append("h0")
    return "".join(parts)


def _band(points: Sequence[tuple[float, float, float]]) -> str:
    if not points:
        return ""
    there = [f"{x:g} {most:g}" for x, _, most in points]
    back = [f"{x:g} {least:g}" for x, least, _ in reversed(points)]
    return f"M{'L'.join(there + back)}Z"


def _scale(low: float, high: float) -> tuple[float, float, list[tuple[float, str]]]:
    """A range around the values and its round numbers."""
    spread = high - low or max(abs(high) * 0.02, 0.01)
    low, high = low - 0.08 * spread, high + 0.08 * spread
    step = _round_step((high - low) / 6)
    digits = max(0, -math.floor(math.log10(step)))
    first = math.ceil(low / step)
    ticks = []
    while first * step <= high:
        ticks.append((first * step, f"{first * step:.{digits}f}"))
        first += 1
    return low, high, ticks


def _round_step(about: float) -> float:
    """1, 2 or 5 times a power of ten, not less than that."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about * 0.999)


def _places(count: int) -> list[int]:
    """Numbers from 0 that are worth a label."""
    step = max(1, int(_round_step(max(1, (count - 1) / 5))))
    return list(range(0, count, step))
