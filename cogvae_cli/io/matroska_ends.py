"""Whether a Matroska or WebM file breaks off: its elements are walked, and those of a live recording from within."""

from __future__ import annotations

from typing import BinaryIO

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_TOP = (_EBML, _SEGMENT)
_ENTERED = (_SEGMENT, _CLUSTER)
"""Elements that a live recording writes before it knows how long they become: what is in them is walked instead."""
_MAX_ELEMENTS = 10_000_000  # a day of live video has as many blocks


def segments(file: BinaryIO, size: int) -> int:
    """Bytes that the file is short of; 0 where nothing in it tells."""
    position, inside = 0, False
    for _ in range(_MAX_ELEMENTS):
        if position == size:
            return 0
        file.seek(position)
        read = _head(file.read(12))
        if read is None:
            return 1 if inside and size - position < 12 else 0
        kind, width, length = read
        if not inside and kind not in _TOP:
            return 0
        position += width
        if length is None:
            if kind not in _ENTERED:
                return 0
            inside = True
            continue
        position += length
        if position > size:
            return position - size
    return 0


def _head(data: bytes) -> tuple[int, int, int | None] | None:
    """An element's kind, the bytes of its head, and the length of its content, None for an unknown one."""
    if not data or not data[0]:
        return None
    kind_width = 9 - data[0].bit_length()  # leading zeros tell how many bytes a number has
    if kind_width > 4 or len(data) <= kind_width or not data[kind_width]:
        return None
    width = 9 - data[kind_width].bit_length()
    if len(data) < kind_width + width:
        return None
    unknown = (1 << (7 * width)) - 1
    length = int.from_bytes(data[kind_width : kind_width + width], "big") & unknown
    return int.from_bytes(data[:kind_width], "big"), kind_width + width, None if length == unknown else length
