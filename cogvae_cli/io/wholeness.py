"""Whether a video file ends before its own sizes say it should: a cut file often decodes without an error."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

from cogvae_cli.io.decoding import Reach
from cogvae_cli.io.file_ends import missing_bytes
from cogvae_cli.io.timing import Clock

_DURATION = re.compile(r"([0-9]{1,6}):([0-9]{1,2}):([0-9]{1,2}(?:\.[0-9]{1,12})?)")  # and not 9e9999999
_TIMED = ("matroska", "avi", "flv", "asf")  # containers whose header holds a duration that isn't a guess of FFmpeg's


def shortage(path: Path, stream: VideoStream, reach: Reach, clock: Clock) -> str | None:
    """What a file that was read to its end without an error lacks all the same, in words; None where nothing."""
    container = stream.container
    if not isinstance(container, InputContainer):
        raise TypeError(f"{container} is not read from")
    names = container.format.name.split(",")
    if "mov" in names and stream.frames:  # the index tells for each stream, and edit lists are in it
        expected = len(stream.index_entries)
        return f"its index lists {expected}" if reach.packets < expected else None
    timing, _ = clock.timing()
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
