"""Arrays as they lie in a latents file: one run of little-endian bytes, read by rows and hashed as a stream."""

from __future__ import annotations

import hashlib
import math
import zlib
from dataclasses import dataclass
from typing import IO, BinaryIO

import ml_dtypes
import numpy as np

from cogvae_cli.errors import NonFiniteError, OutputError
from cogvae_cli.io.json_fields import MalformedError

BLOCK = 2**20
"""Bytes that are read or written at a time."""

STORED: dict[str, str] = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}
"""numpy's name of the bytes, by dtype of storage; bfloat16 is kept as its 16 bits."""


@dataclass(frozen=True)
class StoredArray:
    """Where an array lies in its file, checked against the file's size."""

    shape: tuple[int, ...]
    stored: str
    """One of STORED's values."""
    offset: int
    """Of the first byte of the values."""
    prefix: bytes = b""
    """Bytes just before the values that the check sum covers too."""
    crc: int | None = None
    """CRC-32 of prefix and values; None where the container has none."""

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * np.dtype(self.stored).itemsize


@dataclass(frozen=True)
class Spool:
    """Values waiting in a file, to be copied into a container."""

    file: IO[bytes]
    shape: tuple[int, ...]
    stored: str

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * np.dtype(self.stored).itemsize


def digest(file: BinaryIO, array: StoredArray) -> str:
    """The sha256 of the values, read as a stream. Raises MalformedError if their CRC is wrong or the file ends."""
    sha, crc, left = hashlib.sha256(), zlib.crc32(array.prefix), array.size
    file.seek(array.offset)
    while left:
        block = file.read(min(BLOCK, left))
        if not block:
            raise MalformedError("is truncated")
        sha.update(block)
        crc = zlib.crc32(block, crc)
        left -= len(block)
    if array.crc not in (None, crc):
        raise MalformedError("is damaged: a check sum (CRC-32) is wrong")
    return sha.hexdigest()


def read_rows(file: BinaryIO, array: StoredArray, start: int, count: int) -> np.ndarray:
    """Rows [start, start + count) of the first axis as float32, exactly as stored."""
    row = array.size // array.shape[0]
    raw = np.empty((count, *array.shape[1:]), array.stored)
    file.seek(array.offset + start * row)
    view = raw.data.cast("B")
    while view:
        got = file.readinto(view)  # type: ignore[attr-defined]
        if not got:
            raise MalformedError("is truncated")
        view = view[got:]
    if array.stored == STORED["bfloat16"]:  # a bfloat16 is the upper half of a float32
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32)


def to_stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 values rounded to nearest even in `dtype`, as little-endian bytes ready to store.

    Raises NonFiniteError for NaN or Inf, and OutputError for a value that `dtype` can't hold: never a silent Inf.
    """
    exact = np.ascontiguousarray(values, np.float32)
    with np.errstate(over="ignore"):
        rounded = exact.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    if not np.isfinite(rounded).all():
        if not np.isfinite(exact).all():
            raise NonFiniteError("latents hold NaN or Inf; they are not stored")
        largest = float(np.abs(exact).max())
        raise OutputError(f"a latent of size {largest:.6g} doesn't fit {dtype}", "store the latents as float32")
    return rounded.view(STORED["bfloat16"]) if dtype == "bfloat16" else rounded.astype(STORED[dtype], copy=False)


def copy(spool: Spool, target: IO[bytes]) -> None:
    """Copies a spool's values, a block at a time."""
    spool.file.seek(0)
    while block := spool.file.read(BLOCK):
        target.write(block)
