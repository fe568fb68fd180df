"""How bright HDR video gets, by what its file says: of its content (CTA-861.3) or of the display it was graded on."""

from __future__ import annotations

import struct
from typing import Any

import av
from av.sidedata.sidedata import Type as SideData

from cogvae_cli.io.orientation import UNSAFE

_MASTERING = struct.Struct("=22i")
"""FFmpeg's form: fractions of three primaries and white, then least and most luminance; whether either is given."""
_MOST, _IS_GIVEN = 18, 21
_CONTENT = struct.Struct("=2I")
_DARKEST, _BRIGHTEST = 203, 10_000
"""Nits: no less than what becomes white, no more than PQ can say."""


def stated_peak(frame: av.VideoFrame, codec: str) -> float | None:
    """Nits of the brightest point that the file speaks of; None where it doesn't."""
    if codec in UNSAFE:
        return None
    content = _side_data(frame, SideData.CONTENT_LIGHT_LEVEL)
    if len(content) >= _CONTENT.size and (most := _CONTENT.unpack_from(content)[0]):
        return _bounded(most)
    mastering = _side_data(frame, SideData.MASTERING_DISPLAY_METADATA)
    if len(mastering) < _MASTERING.size:
        return None
    numbers = _MASTERING.unpack_from(mastering)
    numerator, denominator = numbers[_MOST : _MOST + 2]
    return _bounded(numerator / denominator) if numbers[_IS_GIVEN] and numerator > 0 and denominator > 0 else None


def _side_data(frame: av.VideoFrame, kind: SideData) -> bytes:
    side_data: Any = frame.side_data  # its type is another one in each version of PyAV
    try:
        return bytes(side_data[kind])
    except (KeyError, ValueError):  # none; or a kind among them that PyAV 18 doesn't know
        return b""


def _bounded(nits: float) -> float:
    return float(min(max(nits, _DARKEST), _BRIGHTEST))
