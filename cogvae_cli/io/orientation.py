"""Which way up a frame is shown: the display matrix that cameras write, as quarter turns and mirrorings of an array."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData

from cogvae_cli.errors import VideoError

MATRIX_BYTES = 36

# PyAV frees the name of a PNG's colour profile twice, which crashes: no side data is asked of these.
UNSAFE = ("png", "apng")


@dataclasses.dataclass(frozen=True)
class Orientation:
    """How stored pixels become shown pixels: first swap the axes, then mirror. Exact for all eight cases."""

    transpose: bool = False
    mirror_rows: bool = False
    mirror_columns: bool = False

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """The frame as it is shown; [H W 3] -> [H W 3], or [W H 3] where the axes swap."""
        if self.transpose:
            frame = frame.transpose(1, 0, 2)
        rows = slice(None, None, -1 if self.mirror_rows else None)
        columns = slice(None, None, -1 if self.mirror_columns else None)
        return np.ascontiguousarray(frame[rows, columns])

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height as shown, of those that are stored."""
        return (height, width) if self.transpose else (width, height)


UPRIGHT = Orientation()


def parse_matrix(data: bytes) -> Orientation:
    """Reads FFmpeg's display matrix: nine native int32, rows (a b u) (c d v) (x y w); x' = ax + cy, y' = bx + dy.

    Raises ValueError for a turn that isn't a quarter turn.
    """
    if len(data) < MATRIX_BYTES:
        raise ValueError(f"a display matrix of {len(data)} bytes, not {MATRIX_BYTES}")
    a, b, _, c, d, *_ = struct.unpack("=9i", data[:MATRIX_BYTES])
    largest = max(abs(a), abs(b), abs(c), abs(d))
    small = largest >> 8  # below a quarter of a degree: rounding of the writer's cosine
    if min(abs(a), abs(d)) > small and max(abs(b), abs(c)) <= small:
        return Orientation(mirror_rows=d < 0, mirror_columns=a < 0)
    if min(abs(b), abs(c)) > small and max(abs(a), abs(d)) <= small:
        return Orientation(transpose=True, mirror_rows=b < 0, mirror_columns=c < 0)
    raise ValueError(f"a display matrix that is no quarter turn: {a} {b} {c} {d}")


def orientation_of(frame: av.VideoFrame, codec: str) -> Orientation:
    """How the file wants this frame shown. Raises VideoError where that can't be told, or is no quarter turn."""
    hint = "turn it with another program first"
    try:
        matrix = None if codec in UNSAFE else _display_matrix(frame)
    except (KeyError, ValueError):  # none; or PyAV 18 met a kind that it doesn't know (EXIF) and shows none at all
        matrix = None
    if matrix is None:
        if frame.rotation:
            raise VideoError("it is rotated or mirrored, and which of them can't be told", hint=hint)
        return UPRIGHT
    try:
        return parse_matrix(matrix)
    except ValueError as error:
        raise VideoError(str(error), hint=hint) from error


def _display_matrix(frame: av.VideoFrame) -> bytes:
    side_data: Any = frame.side_data  # its type is another one in each version of PyAV
    return bytes(side_data[SideData.DISPLAYMATRIX])
