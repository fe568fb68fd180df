"""The npz container of a latents file: a zip archive of stored .npy members, read without trusting it.

Nothing is allocated by what a member declares before that was compared with the bytes which are there.
There is no pickle, and no compression.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from cogvae_cli.io.json_fields import MalformedError, shown
from cogvae_cli.io.latents_header import LONGEST
from cogvae_cli.io.stored_array import STORED, Spool, StoredArray, copy

HEADER = "header"
_NAMES = tuple(f"{name}.npy" for name in (HEADER, "latents", "logvar", "mean"))
_MOST = 3  # members of the fullest file: header, mean, logvar
_NPY = 10_000  # longest .npy header that numpy reads
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that zip can hold, so that equal input gives equal bytes

_NPY_ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    RecursionError,
    MemoryError,
    UserWarning,
)

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")


@dataclass(frozen=True)
class _Member:
    """A member's bytes in the archive, and what its .npy header declares."""

    name: str
    offset: int
    size: int
    crc: int


def locate_npz(file: BinaryIO) -> tuple[str, dict[str, StoredArray]]:
    """The header's text, and where each array lies. Raises MalformedError for what breaks the format."""
    size = file.seek(0, io.SEEK_END)
    _check_directory(file, size)
    members = _members(file, size)
    if HEADER not in members:
        raise MalformedError("has no member 'header': an npz, but not a latents file of cogvae")
    text = _read_text(file, members.pop(HEADER))
    return text, {name: _locate_array(file, member) for name, member in members.items()}


def _check_directory(file: BinaryIO, size: int) -> None:
    """Bounds the directory before zipfile reads it: its counts decide how much is allocated."""
    tail = min(size, _END.size + _LOCATOR64.size + _END64.size)
    file.seek(size - tail)
    end = file.read(tail)
    if len(end) < _END.size or not end[-_END.size :].startswith(b"PK\5\6"):
        raise MalformedError("is truncated, or something follows it: no zip directory at its end")
    fields = _END.unpack(end[-_END.size :])
    counts = [(fields[4], fields[5])]
    locator = end[-_END.size - _LOCATOR64.size : -_END.size]
    if locator.startswith(b"PK\6\7"):
        record = end[: -_END.size - _LOCATOR64.size]
        if len(record) < _END64.size or not record.startswith(b"PK\6\6"):
            raise MalformedError("has a damaged zip directory")
        fields64 = _END64.unpack(record)
        counts.append((fields64[7], fields64[8]))
    for members, length in counts:
        if members > _MOST or length > _NPY:
            raise MalformedError(f"has {members} members in a directory of {length} bytes; a latents file has 2 or 3")


def _members(file: BinaryIO, size: int) -> dict[str, _Member]:
    """Members by name without `.npy`: known names, once each, stored, whole, and apart from each other."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError) as error:
        raise MalformedError(f"has a damaged zip directory: {error}") from None
    members: dict[str, _Member] = {}
    for entry in entries:
        if entry.filename not in _NAMES:
            raise MalformedError(f"has a member {shown(entry.filename)}, which no latents file has")
        name = entry.filename.removesuffix(".npy")
        if name in members:
            raise MalformedError(f"has two members {name!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
            raise MalformedError(f"has a compressed or encrypted member {name!r}; version 1 only stores")
        members[name] = _Member(name, _data_offset(file, entry), entry.file_size, entry.CRC)
    edge = 0
    for member in sorted(members.values(), key=lambda member: member.offset):
        if member.offset < edge or member.offset + member.size > size:
            raise MalformedError(f"has a member {member.name!r} of {member.size} bytes, which aren't there")
        edge = member.offset + member.size
    return members


def _data_offset(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where a member's bytes start: behind its local header, which must agree with the directory."""
    file.seek(max(entry.header_offset, 0))
    raw = file.read(_LOCAL.size)
    if entry.header_offset < 0 or len(raw) < _LOCAL.size or not raw.startswith(b"PK\3\4"):
        raise MalformedError(f"has no member {shown(entry.filename)} where its zip directory says")
    fields = _LOCAL.unpack(raw)
    name, extra = fields[9], fields[10]
    if fields[3] != entry.compress_type or file.read(name) != entry.filename.encode():
        raise MalformedError(f"has another member than {shown(entry.filename)} where its zip directory says")
    return entry.header_offset + _LOCAL.size + int(name) + int(extra)


def _read_text(file: BinaryIO, member: _Member) -> str:
    """The text of a 0-d unicode array."""
    if member.size > 4 * LONGEST + _NPY:
        raise MalformedError(f"has a header of {member.size} bytes; at most {4 * LONGEST} are read")
    file.seek(member.offset)
    raw = file.read(member.size)
    if zlib.crc32(raw) != member.crc:
        raise MalformedError("is damaged: the header's check sum (CRC-32) is wrong")
    shape, dtype, start = _npy_header(raw, member.name)
    if shape != () or not dtype.str.startswith("<U"):
        raise MalformedError(f"has a header of shape {shape} and dtype {dtype}, not one unicode text")
    _check_size(member, start, dtype.itemsize)
    try:
        return raw[start:].decode("utf-32-le").rstrip("\0")
    except UnicodeDecodeError:
        raise MalformedError("has a header that is no unicode text") from None


def _locate_array(file: BinaryIO, member: _Member) -> StoredArray:
    file.seek(member.offset)
    raw = file.read(min(member.size, _NPY + 12))
    shape, dtype, start = _npy_header(raw, member.name)
    if dtype.str not in STORED.values():
        raise MalformedError(f"has {member.name!r} of dtype {dtype}; latents are float32, float16 or bfloat16 bits")
    _check_size(member, start, math.prod(shape) * dtype.itemsize)
    return StoredArray(shape, dtype.str, member.offset + start, raw[:start], member.crc)


def _npy_header(raw: bytes, name: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, dtype and length of a .npy header. numpy evaluates it as a literal; nothing in it is run."""
    stream = io.BytesIO(raw[: _NPY + 12])
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = readers[version](stream)
    except _NPY_ERRORS:
        raise MalformedError(f"has a member {name!r} that is no .npy array") from None
    if fortran:
        raise MalformedError(f"has {name!r} in Fortran order; version 1 has C order")
    if dtype.hasobject or any(length < 1 for length in shape):
        raise MalformedError(f"has {name!r} of shape {shown(shape)} and dtype {shown(dtype)}")
    return tuple(int(length) for length in shape), dtype, stream.tell()


def _check_size(member: _Member, start: int, declared: int) -> None:
    there = member.size - start
    if there != declared:
        raise MalformedError(f"has {member.name!r} that declares {declared} bytes, but holds {there}")


def write_npz(file: BinaryIO, text: str, spools: Mapping[str, Spool]) -> None:
    """Writes the container at the file's position: header first, then the arrays. Equal input, equal bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        value = np.array(text)
        with archive.open(_entry(HEADER, value.nbytes), "w") as member:
            np.lib.format.write_array(member, value, version=(1, 0), allow_pickle=False)
        for name, spool in spools.items():
            with archive.open(_entry(name, spool.size), "w") as member:
                facts = {"descr": spool.stored, "fortran_order": False, "shape": spool.shape}
                np.lib.format.write_array_header_1_0(member, facts)
                copy(spool, member)


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=_TIME)
    entry.create_system = 3  # the same on every platform
    entry.external_attr = 0o644 << 16
    entry.file_size = size + _NPY  # zipfile chooses 64-bit fields by this, and puts the true size in at the end
    return entry
