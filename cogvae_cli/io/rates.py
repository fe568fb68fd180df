"""Frame rates as exact fractions: from PyAV's values, from what a person types, and snapped to the rates in use."""

from __future__ import annotations

import functools
import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from cogvae_cli.errors import UsageError

_NTSC = tuple(Fraction(number * 1000, 1001) for number in (12, 15, 24, 30, 48, 60, 90, 120, 240))
_MAX_RATE = 100_000
_MAX_TERM = 2**31 - 1  # what FFmpeg holds in either part of a fraction
_SNAP = Fraction(1, 100_000)  # how far (relative) a header's rounding takes a rate from the one that was meant


def exact_fraction(value: object) -> Fraction | None:
    """PyAV's rational as a fraction; None where it is unset, which is None, 0 or 0/0 by its version."""
    numerator = getattr(value, "numerator", None)
    denominator = getattr(value, "denominator", None)
    if not isinstance(numerator, int) or not isinstance(denominator, int) or numerator == 0 or denominator == 0:
        return None
    return Fraction(numerator, denominator)


@functools.lru_cache(maxsize=256)  # asked several times of every file, and the files of a data set share few rates
def snapped(rate: Fraction) -> Fraction:
    """The whole or NTSC rate that a container rounded to this one, or the rate itself: 19001/634 -> 30000/1001."""
    for known in (*_NTSC, Fraction(round(rate))):
        if known > 0 and abs(rate - known) <= known * _SNAP:
            return known
    return rate


def parse_rate(value: str | float | Fraction) -> Fraction:
    """Frames a second from what a person gives: 25, "30000/1001", "29.97", 23.976, a Fraction.

    A decimal stands for the NTSC rate that rounds to it (29.97 and 23.98 do, 29.9 doesn't). A fraction stays as it is.
    Raises UsageError for anything that is no positive rate.
    """
    if isinstance(value, Fraction):
        return checked_rate(value)
    text = str(value).strip()
    try:
        rate = Fraction(text) if "/" in text else _from_decimal(Decimal(text))
    except (ValueError, ZeroDivisionError, InvalidOperation, OverflowError) as error:
        raise UsageError(f"{text!r} is not a frame rate", hint="give 25, 29.97 or 30000/1001") from error
    return checked_rate(rate)


def checked_rate(rate: Fraction) -> Fraction:
    """The rate itself. Raises UsageError where a video can't have it."""
    if not 0 < rate <= _MAX_RATE or max(rate.numerator, rate.denominator) > _MAX_TERM:
        raise UsageError(f"{rate} frames a second can't be written", hint="give 25, 29.97 or 30000/1001")
    return rate


def _from_decimal(number: Decimal) -> Fraction:
    if not number.is_finite():
        raise ValueError(f"{number} is not finite")
    exponent = number.as_tuple().exponent
    places = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    exact = Fraction(number)
    if places >= 2 and exact.denominator != 1:
        for known in _NTSC:
            if math.isclose(round(float(known), places), float(number), rel_tol=1e-12):
                return known
    return exact.limit_denominator(1_000_000)
