"""Sound of another file, copied into the video that is written, packet by packet and without a codec."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from cogvae_cli.errors import UsageError, VideoError
from cogvae_cli.io.codecs import MUXERS
from cogvae_cli.io.opening import is_cover, open_video
from cogvae_cli.io.rates import exact_fraction

_NEGATIVE = ("mp4", "mov")
"""Containers that can say that sound starts before the video: what a decoder has to warm up on."""


def check_audio(path: Path, container: str) -> None:
    """Refuses sound that can't be copied, before any work.

    Raises VideoError for a file without sound, UsageError for a codec that the container can't hold.
    """
    with open_video(path) as source:
        stream = _audio_of(source.streams.best("audio"), path)
        name = stream.codec_context.codec.canonical_name
    with av.open(io.BytesIO(), "w", format=MUXERS[container]) as probe:
        if name not in probe.supported_codecs:
            raise UsageError(f".{container} can't hold the sound of {path} ({name})", "name the output .mkv")


class AudioCopy:
    """The sound of one file, on its way into an open container."""

    def __init__(self, path: Path, output: OutputContainer, *, start: Fraction, container: str) -> None:
        """`start`: seconds of the file's video that come before the first frame that is written."""
        self._source = open_video(path)
        try:
            stream = _audio_of(self._source.streams.best("audio"), path)
            self._stream = stream
            self._out = output.add_stream_from_template(stream)
            self._output = output
            self._zero = _video_start(self._source) + start
            self._earliest = Fraction(-1) if container in _NEGATIVE and not start else Fraction(0)
            self._packets = self._demux()
            self._waiting: tuple[Packet[AudioStream], Fraction] | None = None
        except BaseException:
            self._source.close()
            raise

    def close(self) -> None:
        self._source.close()

    def copy_until(self, end: Fraction) -> None:
        """Copies what is heard before that many seconds from the first frame."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            if self._waiting is None or self._waiting[1] >= end:
                return
            packet, self._waiting = self._waiting[0], None
            packet.stream = self._out
            self._output.mux(packet)

    def _demux(self) -> Iterator[tuple[Packet[AudioStream], Fraction]]:
        tick = exact_fraction(self._stream.time_base) or Fraction(1, 90_000)
        shift = round(self._zero / tick)
        for packet in self._source.demux(self._stream):
            if packet.pts is None or packet.dts is None or not packet.size:
                continue
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            time = packet.pts * tick
            if time >= self._earliest:
                yield packet, time


def _audio_of(stream: Stream | None, path: Path) -> AudioStream:
    if not isinstance(stream, AudioStream):
        raise VideoError(f"{path}: has no sound to copy")
    return stream


def _video_start(container: av.container.InputContainer) -> Fraction:
    """Seconds at which the file's video begins; sound alone begins with itself."""
    videos: list[Stream] = [stream for stream in container.streams.video if not is_cover(stream)]
    best = container.streams.best("audio")
    for stream in (*videos, *([best] if best else [])):
        tick = exact_fraction(stream.time_base)
        if stream.start_time is not None and tick is not None:
            return max(stream.start_time * tick, Fraction(0)) if not videos else stream.start_time * tick
    return Fraction(0)
