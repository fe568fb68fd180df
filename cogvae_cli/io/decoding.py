"""Decoding one stream of a container to its end, with damage found instead of passed on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from fractions import Fraction

import av
from av.codec.context import CodecContext, ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from cogvae_cli.errors import VideoError
from cogvae_cli.io.rates import exact_fraction
from cogvae_cli.io.seeking import seek
from cogvae_cli.io.timing import Joints

_BROADCAST = ("mpegts", "mpeg")
_SMALL = 1 << 19
"""Pixels up to which threads take longer to start and to meet than they save, and hold Python's lock meanwhile."""


@dataclasses.dataclass(frozen=True)
class Reach:
    """How far the packets reach that were read of a file."""

    packets: int
    """Of the stream that is decoded."""
    end: Fraction
    """Seconds at which its last one ends."""
    end_of_all: Fraction
    """Seconds at which the last one of any stream ends."""


class Gaps:
    """Pictures that went into a decoder and didn't come out, where each packet holds one."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._expected: set[int] = set()

    def expect(self, stamp: int | None) -> None:
        """Takes the time stamp of a packet. Those before the first frame that is shown need what the file lacks."""
        if stamp is not None and (self._first is None or stamp > self._first):
            self._expected.add(stamp)

    def precede(self, stamp: int | None) -> bool:
        """Takes the time stamp of a frame that came out: whether one before it is missing."""
        if stamp is None:
            return False
        if self._first is None:
            self._first = stamp
            self._expected = {expected for expected in self._expected if expected > stamp}
        self._expected.discard(stamp)
        return any(expected < stamp for expected in self._expected)

    def remain(self) -> bool:
        """Whether any is missing at the end."""
        return bool(self._expected)


class Decoder:
    """Iterator over the frames of one stream in presentation order, and how far the file's packets reach.

    Raises VideoError where data is damaged or missing. Whatever it gave out until then is a gapless start of the video:
    frames that the decoder still held back are dropped, for those between them may be lost.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        lack: Callable[[Reach], str | None],
        decoder: CodecContext | None = None,
    ) -> None:
        """`lack` says what a file lacks whose packets all were read without an error, None for nothing.

        `decoder` takes the place of the stream's own.
        """
        self._container, self._stream, self._lack = container, stream, lack
        self._decoder = decoder
        # Slices only: with frame threads FFmpeg drops the errors of the last packets without a word.
        stream.thread_type = ThreadType.SLICE
        if stream.codec_context.width * stream.codec_context.height <= _SMALL:
            stream.thread_count = 1
        # A lost packet leaves this mark on a transport stream where two are joined too; frames carry it if it matters.
        self._trusts_packets = "mpegts" in container.format.name.split(",")
        self._frames = self._decode()
        self._ahead: av.VideoFrame | None = None
        self._given = 0
        self._packets = 0
        self._ends: dict[int, int] = {}
        """Of each stream, where its packets end so far, in its ticks."""
        self._from: int | None = None
        """Time stamp of the key frame that reading went on at."""
        self._gaps = Gaps() if self._drops_silently() else None
        tick = exact_fraction(stream.time_base)
        broadcast = set(container.format.name.split(",")) & set(_BROADCAST)
        self.joints = Joints(tick) if tick is not None and broadcast else None
        """Where time stamps start anew, in what can be broadcast."""

    def __iter__(self) -> Iterator[av.VideoFrame]:
        return self

    def __next__(self) -> av.VideoFrame:
        frame = self.peek()
        if frame is None:
            raise StopIteration
        self._ahead = None
        self._given += 1
        return frame

    def peek(self) -> av.VideoFrame | None:
        """The frame that comes next, or None at the end."""
        if self._ahead is None:
            self._ahead = next(self._frames, None)
        return self._ahead

    def skip_to(self, stamp: int) -> bool:
        """Goes on at the last key frame at that time stamp or before it, if the frames from there on are exactly those
        that reading from the start gives. Otherwise False, and the file is to be opened anew.
        """
        self._frames.close()
        self._ahead = None
        landing = seek(self._container, self._stream, stamp)
        if landing is None:
            return False
        self._packets, self._ends, self._from = landing.packets, {}, landing.pts
        self._gaps = Gaps() if self._gaps else None
        self._frames = self._decode()
        frame = self.peek()
        return frame is not None and frame.pts == landing.pts

    def close(self) -> None:
        """Lets go of the frames that nobody asked for, and of the reader: a cycle would keep the codec's memory."""
        self._frames.close()
        self._ahead = None
        self._lack = _lacks_nothing

    def _decode(self) -> Generator[av.VideoFrame, None, None]:
        try:
            for packet in self._container.demux():
                if packet.size:
                    self._note(packet)
                elif packet.dts is not None:
                    continue  # a frame that shows the one before it again, not the end
                elif packet.stream is self._stream:  # the end: the decoder gives out what it held back
                    self._check_whole()
                if packet.stream is self._stream:
                    yield from self._frames_of(packet)
        except av.FFmpegError as error:
            raise self._damage(error.strerror) from error

    def _frames_of(self, packet: Packet[Stream]) -> Iterator[av.VideoFrame]:
        if packet.is_corrupt and not self._trusts_packets:
            raise self._damage()
        if self._gaps and packet.size and not packet.is_discard:
            self._gaps.expect(packet.pts)
        for frame in self._decoded(packet):
            if self._is_leading(frame):
                continue
            if not isinstance(frame, av.VideoFrame) or frame.is_corrupt:  # made up in part
                raise self._damage()
            if self._gaps and self._gaps.precede(frame.pts):
                raise self._damage()
            if self.joints and frame.pts is not None:
                frame.pts = self.joints.joined(frame.pts)
            yield frame
        if self._gaps and not packet.size and self._gaps.remain():
            raise self._damage()

    def _drops_silently(self) -> bool:
        """FFmpeg leaves out pictures of HEVC that it can't make sense of, and says nothing."""
        return self._stream.codec_context.codec.canonical_name == "hevc" and not self._trusts_packets

    def _decoded(self, packet: Packet[Stream]) -> Sequence[object]:
        try:
            return packet.decode() if self._decoder is None else _decoded(self._decoder, packet)
        except av.FFmpegError:
            if self._is_leading(packet):
                return ()
            raise

    def _is_leading(self, shown: object) -> bool:
        """Whether it is shown before the key frame that reading went on at: it may need what came before."""
        stamp = getattr(shown, "pts", None)
        return self._from is not None and stamp is not None and stamp < self._from

    def _check_whole(self) -> None:
        lack = self._lack(self._reach())
        if lack:
            raise VideoError(f"it is truncated: {self._count()} could be read, but {lack}")

    def _damage(self, why: str | None = None) -> VideoError:
        detail = f" ({why})" if why else ""
        read = f"{self._count()} could be read"
        return VideoError(f"it is damaged or truncated: {read}, then the data breaks off{detail}")

    def _count(self) -> str:
        return f"{self._given} frame{'' if self._given == 1 else 's'}"

    def _note(self, packet: Packet[Stream]) -> None:
        """In whole numbers: fractions would take longer than the decoding of a small picture."""
        stream, stamp = packet.stream_index, packet.pts if packet.pts is not None else packet.dts
        self._packets += stream == self._stream.index
        if stamp is not None:
            self._ends[stream] = max(self._ends.get(stream, 0), stamp + (packet.duration or 0))

    def _reach(self) -> Reach:
        ticks = {stream.index: exact_fraction(stream.time_base) or Fraction(0) for stream in self._container.streams}
        ends = {stream: end * ticks[stream] for stream, end in self._ends.items()}
        return Reach(self._packets, ends.get(self._stream.index, Fraction(0)), max(ends.values(), default=Fraction(0)))


def _decoded(context: CodecContext, packet: Packet[Stream]) -> Sequence[object]:
    return context.decode(packet if packet.size else None)  # type: ignore[attr-defined,no-any-return]


def _lacks_nothing(reach: Reach) -> None:
    """For a decoder that is closed."""
