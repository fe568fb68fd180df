"""How many bytes a video file is short of, by the sizes in its own structure: each container is walked, not decoded."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cogvae_cli.io.matroska_ends import segments

_MEDIA_BOXES = (b"mdat", b"moov", b"moof", b"sidx", b"mfra")
_PACKETS = {188: 0, 192: 4}  # bytes of a transport packet, and where its sync byte stands
_SYNC = 0x47
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_OGG, _OGG_LAST = b"OggS", 4
_OGG_PAGE = 65_307  # bytes at most
_DV_FRAMES = (120_000, 144_000)  # bytes, of 60 Hz and of 50 Hz
_KEY, _FOOTER_AT = b"\x06\x0e\x2b\x34", 24
_FRAME = b"FRAME"
_BYTE = 8  # bits
_TAIL = 1 << 20
_MAX_ELEMENTS = 1_000_000  # of a file that is nothing but headers


def missing_bytes(path: Path, container: str) -> int:
    """Bytes that the file is short of; 0 where its structure doesn't tell.

    `container` is the name of FFmpeg's demuxer. Where a file breaks off inside something whose size nothing tells,
    that counts as 1 byte.
    """
    names = container.split(",")
    check = next((check for name, check in _CHECKS.items() if name in names), None)
    if check is None:
        return 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return check(file, size)


def _boxes(file: BinaryIO, size: int) -> int:
    """MP4 and its kin: the top-level boxes, and the segment indexes that tell where the fragments after them end."""
    position = end = 0
    for _ in range(_MAX_ELEMENTS):
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            break
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0 reaches to the end of the file, and the others mean nothing
            break
        position += length
        if position > size:
            return position - size if kind in _MEDIA_BOXES else 0
        if kind == b"sidx":
            file.seek(position - length)
            end = max(end, position + _indexed(file.read(min(length, 1 << 20))))
    return max(0, end - size)


def _indexed(box: bytes) -> int:
    """Bytes that follow a segment index, by its own count of them; 0 where it is odd."""
    wide = box[8:9] != b"\0"  # version 0 has times and offsets of 4 bytes
    count_at = 38 if wide else 30
    offset = int.from_bytes(box[28:36] if wide else box[24:28], "big")
    entries = box[count_at + 2 :]
    if len(entries) < 12 or len(entries) // 12 != int.from_bytes(box[count_at : count_at + 2], "big"):
        return 0
    sizes = (int.from_bytes(entries[at : at + 4], "big") & 0x7FFFFFFF for at in range(0, len(entries) - 11, 12))
    return offset + sum(sizes)


def _riffs(file: BinaryIO, size: int) -> int:
    """AVI: one RIFF list, and more of them past a gigabyte."""
    position = 0
    for _ in range(_MAX_ELEMENTS):
        file.seek(position)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        if len(head) < 8 or head[:4] != b"RIFF" or length == 0:
            return 0
        position += 8 + length
        if position > size:
            return position - size
        position += position % 2
    return 0


def _transport(file: BinaryIO, size: int) -> int:
    """MPEG transport stream: a last packet that isn't whole, where the file starts with two packets that are."""
    head = file.read(2 * max(_PACKETS))
    for length, sync in _PACKETS.items():
        if len(head) > length + sync and head[sync] == head[length + sync] == _SYNC:
            return -size % length
    return 0


def _gif(file: BinaryIO, size: int) -> int:
    """GIF: its blocks, up to the byte that ends it."""
    head = file.read(13)
    position = 13 + _palette(head[10:11])
    for _ in range(_MAX_ELEMENTS):
        file.seek(position)
        kind = file.read(1)
        if kind not in (b"\x21", b"\x2c"):
            return 1 if position >= size else 0  # its end, or something that no walk can follow
        if kind == b"\x21":
            position += 2
        else:
            position += 11 + _palette(file.read(9)[8:])
        file.seek(position)
        while (length := file.read(1)) not in (b"", b"\0"):
            file.seek(length[0], os.SEEK_CUR)
        position = file.tell()
        if not length:
            return 1
    return 0


def _palette(flags: bytes) -> int:
    """Bytes of the palette that these flags of a GIF announce."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _ogg(file: BinaryIO, size: int) -> int:
    """Ogg: the last page of the file says that it is one, and is whole."""
    start = max(0, size - 2 * _OGG_PAGE)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(_OGG)
    while at >= 0 and tail[at + 4 : at + 5] != b"\0":  # bytes of a picture that look like a page
        at = tail.rfind(_OGG, 0, at)
    if at < 0 or len(tail) - at < 27:
        return 1
    table = tail[at + 27 : at + 27 + tail[at + 26]]
    missing = tail[at + 26] - len(table) + sum(table) - (len(tail) - at - 27 - len(table))
    return max(0, missing) or int(not tail[at + 5] & _OGG_LAST)


def _klv(file: BinaryIO, size: int) -> int:
    """MXF: keys, each with the length of what follows; the first says where the last part begins."""
    position = footer = 0
    for _ in range(_MAX_ELEMENTS):
        file.seek(position)
        head = file.read(25)
        if len(head) < 17 or not head.startswith(_KEY):
            return max(0, footer + 1 - size) if position == size or len(head) >= 17 else 1
        width = head[16] & 0x7F if head[16] & 0x80 else 0
        length = int.from_bytes(head[17 : 17 + width], "big") if width else head[16]
        if position == 0:
            file.seek(17 + width + _FOOTER_AT)
            footer = int.from_bytes(file.read(8), "big")
        position += 17 + width + length
        if position > size:
            return position - size
    return 0


def _dv(file: BinaryIO, size: int) -> int:
    """Raw DV: frames of one size."""
    is_50_hz = file.read(4)[3:] >= b"\x80"
    return -size % _DV_FRAMES[is_50_hz]


def _mjpeg(file: BinaryIO, size: int) -> int:
    """JPEG after JPEG: a last one that begins and has no end."""
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    return int(tail.rfind(_JPEG_START) > tail.rfind(_JPEG_END))


def _y4m(file: BinaryIO, size: int) -> int:
    """YUV4MPEG: a line of text, then frames of one size, each behind a line of its own."""
    line, _, _ = file.read(1024).partition(b"\n")
    words = {word[:1]: word[1:].decode("latin-1") for word in line.split()[1:]}
    try:
        width, height = int(words[b"W"]), int(words[b"H"])
    except (KeyError, ValueError):
        return 0
    first, step = len(line) + 1, len(_FRAME) + 1 + _y4m_bytes(width, height, words.get(b"C", "420"))
    file.seek(first + step)
    if file.read(len(_FRAME)) not in (_FRAME, b""):
        return 0  # the lines of its frames say more than that
    return (first - size) % step


def _y4m_bytes(width: int, height: int, form: str) -> int:
    """Of one frame; `form` is the likes of 420jpeg, 422, 444p10 and mono."""
    across, down = {"420": (2, 2), "422": (2, 1), "411": (4, 1)}.get(form[:3], (1, 1))
    chroma = 0 if form.startswith("mono") else 2 * -(-width // across) * -(-height // down)
    alpha = width * height if form.endswith("alpha") else 0
    depth = re.fullmatch(r"(?:mono|[0-9]{3}p)([0-9]{1,2})", form)
    return (width * height + chroma + alpha) * (2 if depth and int(depth[1]) > _BYTE else 1)


_CHECKS: dict[str, Callable[[BinaryIO, int], int]] = {
    "mov": _boxes,
    "matroska": segments,
    "avi": _riffs,
    "mpegts": _transport,
    "gif": _gif,
    "ogg": _ogg,
    "mxf": _klv,
    "dv": _dv,
    "mjpeg": _mjpeg,
    "jpeg_pipe": _mjpeg,
    "yuv4mpegpipe": _y4m,
}
