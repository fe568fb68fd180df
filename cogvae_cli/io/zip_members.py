"""The members of a zip archive that only stores: found in a directory of bounded size, and checked before any is read.

Nothing is ever unpacked: a member is a run of the file's own bytes, and no two of them overlap.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cogvae_cli.io.json_fields import MalformedError, shown

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_FULL = 2**32 - 1  # stands where a number has moved into the zip64 field
_ZIP64 = 1
_ENCRYPTED = 1


@dataclass(frozen=True)
class Member:
    """A member's bytes in the archive."""

    name: str
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class Directory:
    """Where the list of members lies."""

    start: int
    length: int
    members: int


def stored_members(file: BinaryIO, most: int, longest: int) -> dict[str, Member]:
    """Members by name, in the order of the directory of at most `most` entries and `longest` bytes.

    Raises MalformedError for a member that is there twice, compressed, encrypted, overlapping another or not there.
    """
    directory = _directory(file)
    if directory.members > most or directory.length > longest:
        raise MalformedError(
            f"has {directory.members} members in a zip directory of {directory.length} bytes; "
            f"at most {most} in {longest} bytes are read"
        )
    file.seek(directory.start)
    members: dict[str, Member] = {}
    for name, header, size, crc in _entries(file.read(directory.length), directory.members):
        if name in members:
            raise MalformedError(f"has two members {shown(name)}")
        members[name] = Member(name, _data_offset(file, name, header), size, crc)
    edge = 0
    for member in sorted(members.values(), key=lambda member: member.offset):
        if member.offset < edge or member.offset + member.size > directory.start:
            raise MalformedError(f"has a member {shown(member.name)} of {member.size} bytes, which aren't there")
        edge = member.offset + member.size
    return members


def _directory(file: BinaryIO) -> Directory:
    """The directory, which ends where its end record starts; nothing follows that."""
    size = file.seek(0, io.SEEK_END)
    tail = min(size, _END.size + _LOCATOR64.size + _END64.size)
    file.seek(size - tail)
    end = file.read(tail)
    if len(end) < _END.size or not end[-_END.size :].startswith(b"PK\5\6"):
        raise MalformedError("is truncated, or something follows it: no zip directory at its end")
    fields = _END.unpack(end[-_END.size :])
    found, edge = Directory(fields[6], fields[5], fields[4]), size - _END.size
    if end[-_END.size - _LOCATOR64.size : -_END.size].startswith(b"PK\6\7"):
        record = end[: -_END.size - _LOCATOR64.size]
        if len(record) < _END64.size or not record.startswith(b"PK\6\6"):
            raise MalformedError("has a damaged zip directory")
        fields64 = _END64.unpack(record)
        found, edge = Directory(fields64[9], fields64[8], fields64[7]), size - len(end)
    if found.start + found.length != edge:
        raise MalformedError("has a damaged zip directory: it isn't where the file's end says")
    return found


def _entries(raw: bytes, count: int) -> Iterator[tuple[str, int, int, int]]:
    """Name, place of the local header, size and CRC-32 of each member."""
    at = 0
    for _ in range(count):
        fixed = raw[at : at + _ENTRY.size]
        if len(fixed) < _ENTRY.size or not fixed.startswith(b"PK\1\2"):
            raise MalformedError("has a damaged zip directory: it has fewer members than it says")
        _, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, disk, _, _, header = _ENTRY.unpack(fixed)
        at += _ENTRY.size
        text = _name(raw[at : at + name])
        if method or flags & _ENCRYPTED or packed != size or disk:
            raise MalformedError(f"has a compressed or encrypted member {shown(text)}; only stored ones are read")
        size, header = _wide(raw[at + name : at + name + extra], size, header)
        at += name + extra + comment
        yield text, header, size, crc
    if at != len(raw):
        raise MalformedError("has a damaged zip directory: its length is wrong")


def _name(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("has a member whose name is no UTF-8 text") from None


def _wide(extra: bytes, size: int, header: int) -> tuple[int, int]:
    """Size and place of the local header, from the zip64 field where they don't fit the entry."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64:
            words = [word for (word,) in struct.iter_unpack("<Q", extra[at + 4 : at + 4 + length // 8 * 8])]
            if size == _FULL and len(words) >= 2 and words[0] == words[1]:
                size, words = words[0], words[2:]
            if header == _FULL and words:
                header = words[0]
            break
        at += 4 + length
    return size, header


def _data_offset(file: BinaryIO, name: str, header: int) -> int:
    """Where a member's bytes start: behind its local header, which must agree with the directory."""
    file.seek(header)
    raw = file.read(_LOCAL.size)
    if len(raw) < _LOCAL.size or not raw.startswith(b"PK\3\4"):
        raise MalformedError(f"has no member {shown(name)} where its zip directory says")
    fields = _LOCAL.unpack(raw)
    length, extra = int(fields[9]), int(fields[10])
    if fields[3] != 0 or file.read(length) != name.encode():
        raise MalformedError(f"has another member than {shown(name)} where its zip directory says")
    return header + _LOCAL.size + length + extra
