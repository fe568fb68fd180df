"""Whether a video file ends before its own sizes say it should: a cut file often decodes without an error."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer
from av.video.stream import VideoStream

from cogvae_cli.io.decoding import Reach
from cogvae_cli.io.timing import Timing

_MEDIA_BOXES = (b"mdat", b"moov", b"moof")
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_PACKETS = {188: 0, 192: 4}  # bytes of a transport packet, and where its sync byte stands
_SYNC = 0x47
_GIF_END = b"\x3b"
_DURATION = re.compile(r"([0-9]{1,6}):([0-9]{1,2}):([0-9]{1,2}(?:\.[0-9]{1,12})?)")  # and not 9e9999999
_MAX_ELEMENTS = 1_000_000  # of a file that is nothing but headers
_TIMED = ("matroska", "avi", "flv", "asf")  # containers whose header holds a duration that isn't a guess of FFmpeg's


def shortage(path: Path, stream: VideoStream, reach: Reach, timing: Timing) -> str | None:
    """What a file that was read to its end without an error lacks all the same, in words; None where nothing."""
    container = stream.container
    if not isinstance(container, InputContainer):
        raise TypeError(f"{container} is not read from")
    names = container.format.name.split(",")
    if "mov" in names and stream.frames:  # the index tells for each stream, and edit lists are in it
        expected = len(stream.index_entries)
        return f"its index lists {expected}" if reach.packets < expected else None
    frame = 1 / timing.rate
    tagged = _tagged_duration(stream)
    if tagged is not None and reach.end > tagged - frame / 2:
        return None  # what is missing is behind the video
    missing = missing_bytes(path, container.format.name)
    if missing:
        return f"the file ends {missing:,} byte{'' if missing == 1 else 's'} too early"
    if timing.variable or not any(name in names for name in _TIMED):
        return None  # the last frame of a varying rate may be shown for long
    declared, reached = tagged, reach.end
    if declared is None and container.duration is not None:
        declared, reached = Fraction(container.duration, 1_000_000), reach.end_of_all
    if declared is None or reached > declared - 2 * frame - Fraction(1, 10):
        return None
    return f"the file should last {float(declared):.2f} s and its data ends at {float(reached):.2f} s"


def _tagged_duration(stream: VideoStream) -> Fraction | None:
    """Seconds of one Matroska track, "00:00:01.600000000", where its writer noted them."""
    match = _DURATION.fullmatch(stream.metadata.get("DURATION", ""))
    if match is None:
        return None
    hours, minutes, seconds = (Fraction(part) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def missing_bytes(path: Path, container: str) -> int:
    """Bytes that the file is short of, by the sizes in its own headers; 0 where they don't tell.

    `container` is the name of FFmpeg's demuxer. A transport stream or GIF that breaks off counts as 1 byte or more.
    """
    names = container.split(",")
    check = next((check for name, check in _CHECKS.items() if name in names), None)
    if check is None:
        return 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return check(file, size)


def _boxes(file: BinaryIO, size: int) -> int:
    """MP4 and its kin: the top-level boxes."""
    position = 0
    for _ in range(_MAX_ELEMENTS):
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            return 0
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0 reaches to the end of the file, and the others mean nothing
            return 0
        if position + length > size:
            return position + length - size if kind in _MEDIA_BOXES else 0
        position += length
    return 0


def _segments(file: BinaryIO, size: int) -> int:
    """Matroska and WebM: the header and the segments, each with its length unless it was written live."""
    position = 0
    for _ in range(_MAX_ELEMENTS):
        file.seek(position)
        head = file.read(12)
        if len(head) < 5 or int.from_bytes(head[:4], "big") not in (_EBML, _SEGMENT):
            return 0
        width = 9 - head[4].bit_length()  # leading zeros tell how many bytes hold the length
        if head[4] == 0 or len(head) < 4 + width:
            return 0
        unknown = (1 << (7 * width)) - 1
        length = int.from_bytes(head[4 : 4 + width], "big") & unknown
        if length == unknown:
            return 0
        position += 4 + width + length
        if position > size:
            return position - size
    return 0


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
    """GIF: the byte that ends it, padding apart."""
    file.seek(max(0, size - 1024))
    return 0 if file.read().rstrip(b"\0").endswith(_GIF_END) else 1


_CHECKS = {"mov": _boxes, "matroska": _segments, "avi": _riffs, "mpegts": _transport, "gif": _gif}
