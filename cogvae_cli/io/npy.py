"""Plain .npy files: one array, its header compared with the file's size before anything is allocated."""

from __future__ import annotations

import io
import math
import tokenize
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from cogvae_cli.io.json_fields import MalformedError, shown
from cogvae_cli.io.stored_array import STORED

MAGIC = b"\x93NUMPY"

_LONGEST = 10_000  # bytes of a header that numpy reads
_DTYPES = {"f2": "float16", "f4": "float32", "f8": "float64", "V2": "bfloat16"}  # numpy knows bfloat16 as 2 bytes
_ERRORS = (ValueError, KeyError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError, UserWarning)


@dataclass(frozen=True)
class Npy:
    """A checked header: shape, dtype, and where the values start."""

    shape: tuple[int, ...]
    dtype: str
    """`float16`, `float32`, `float64` or `bfloat16`."""
    stored: np.dtype
    fortran: bool
    offset: int


def locate_npy(file: BinaryIO) -> Npy:
    """Reads the header. Raises MalformedError for what is no array of floats that fills the file exactly."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    stream = io.BytesIO(file.read(_LONGEST + 12))
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, stored = readers[version](stream)  # numpy evaluates it as a literal; nothing in it is run
    except _ERRORS:
        raise MalformedError("is no .npy file, or its header is damaged") from None
    name = stored.str[1:]
    if stored.hasobject or name not in _DTYPES:
        raise MalformedError(f"holds values of dtype {shown(stored.str)}; latents are {', '.join(_DTYPES.values())}")
    declared = stream.tell() + math.prod(shape) * stored.itemsize
    if any(length < 1 for length in shape) or declared != size:
        raise MalformedError(f"declares the shape {shown(shape)}, {declared} bytes in all, but has {size}")
    return Npy(tuple(map(int, shape)), _DTYPES[name], stored, fortran, stream.tell())


def read_npy(file: BinaryIO, found: Npy) -> np.ndarray:
    """The values in C order as they are stored, little-endian; bfloat16 as its 16 bits."""
    file.seek(found.offset)
    raw = file.read(math.prod(found.shape) * found.stored.itemsize)
    stored = STORED["bfloat16"] if found.dtype == "bfloat16" else found.stored
    if len(raw) != math.prod(found.shape) * found.stored.itemsize:
        raise MalformedError("is truncated")
    values = np.ndarray(found.shape, stored, raw, order="F" if found.fortran else "C")
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
