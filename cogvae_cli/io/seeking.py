"""Going to a later part of a video without decoding what comes before it, where the frames stay exactly the same.

That is so after a key frame from which everything that is shown later can be decoded: frames before it in the order
of showing may need the past, frames after it never do. Anything else is read from its start.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

_INDEXED = ("mov", "matroska")
"""Containers whose time stamps don't depend on where reading began."""
_CLEAN = ("vp8", "vp9", "av1", "hevc", "mpeg4", "mjpeg", "prores", "ffv1", "dnxhd", "png", "qtrle")
"""Codecs whose key frames always cut off the past for what is shown after them."""
_IDR, _SEI, _SLICES = 5, 6, range(1, 6)
_RECOVERY_POINT = 6
_STEPS_BACK = 8


@dataclass(frozen=True)
class Landing:
    """The key frame at which reading goes on."""

    pts: int
    packets: int
    """Packets of the stream that come before it."""


def can_seek(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the file has what is needed to go to a key frame and to know how many packets were left out."""
    names = container.format.name.split(",")
    if not any(name in names for name in _INDEXED):
        return False
    stamps = [entry.timestamp for entry in stream.index_entries]
    if "mov" in names and not (stream.frames and stamps):
        return False  # fragments: the index grows while they are read
    return all(earlier < later for earlier, later in itertools.pairwise(stamps))


def seek(container: InputContainer, stream: VideoStream, wanted: int) -> Landing | None:
    """Goes to the last key frame that is shown at the time stamp `wanted` or before it, and behind which nothing
    needs the past; None where none was found, and then the container stands anywhere.

    The stream's decoder is emptied. The next packet that is read is that key frame.
    """
    target = wanted
    for _ in range(_STEPS_BACK):
        container.seek(target, stream=stream)
        packet = next((packet for packet in container.demux(stream) if packet.size), None)
        if packet is None or packet.pts is None:
            return None
        stamp = packet.pts if packet.dts is None else packet.dts
        if packet.is_keyframe and packet.pts <= wanted and _cuts_off_the_past(packet, stream):
            container.seek(target, stream=stream)
            return Landing(packet.pts, sum(entry.timestamp < stamp for entry in stream.index_entries))
        target = min(target, stamp) - 1
    return None


def _cuts_off_the_past(packet: Packet[VideoStream], stream: VideoStream) -> bool:
    codec = stream.codec_context.codec.canonical_name
    if codec == "h264":
        return _is_h264_entry(bytes(packet), stream.codec_context.extradata or b"")
    return codec in _CLEAN


def _is_h264_entry(data: bytes, extradata: bytes) -> bool:
    """Whether an H.264 frame forgets the past, or says that all shown after it is exact (recovery of 0 frames)."""
    if len(extradata) < 5 or extradata[0] != 1:  # not the form of MP4 and Matroska
        return False
    is_recovery = False
    for unit in _units(data, (extradata[4] & 3) + 1):
        kind = unit[0] & 31
        if kind == _SEI:
            is_recovery = is_recovery or _recovers_at_once(unit[1:])
        elif kind in _SLICES:
            return kind == _IDR or is_recovery
    return False


def _units(data: bytes, width: int) -> Iterator[bytes]:
    """The NAL units of a packet; each is preceded by its length."""
    position = 0
    while position + width < len(data):
        length = int.from_bytes(data[position : position + width], "big")
        unit = data[position + width : position + width + length]
        position += width + length
        if unit:
            yield unit


def _recovers_at_once(message: bytes) -> bool:
    """Whether one of the messages is a recovery point of 0 frames that promises exact pictures."""
    position = 0
    while position + 2 <= len(message):
        numbers = []
        for _ in range(2):  # the kind, then the length: each 255 adds to the next byte
            value = 0
            while position < len(message) and message[position] == 255:
                value, position = value + 255, position + 1
            if position >= len(message):
                return False
            numbers.append(value + message[position])
            position += 1
        kind, length = numbers
        if kind == _RECOVERY_POINT and length and position < len(message):
            return message[position] & 0b11000000 == 0b11000000  # a count of 0 frames, and "exact match"
        position += length
    return False
