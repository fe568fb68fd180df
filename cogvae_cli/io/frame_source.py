"""Where decoded frames come from: a video file, or pictures one after the other. Facts first, then frames, once."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import CodecContext
from av.container import InputContainer
from av.video.stream import VideoStream

from cogvae_cli.errors import VideoError
from cogvae_cli.io.decoding import Decoder, Reach
from cogvae_cli.io.opening import is_cover, open_video, video_stream
from cogvae_cli.io.orientation import Orientation, orientation_of
from cogvae_cli.io.pictures import breaks_off, picture_facts
from cogvae_cli.io.rates import exact_fraction
from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.seeking import can_seek
from cogvae_cli.io.timing import Clock
from cogvae_cli.io.wholeness import shortage

_STILL = ("image2", "jpeg_pipe", "webp_pipe", "png_pipe", "bmp_pipe", "tiff_pipe")
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that see the alpha channel of WebM; FFmpeg's own don't."""


@dataclasses.dataclass(frozen=True)
class SourceFacts:
    """What headers say. Counts and durations are hints."""

    container: str
    codec: str
    declared_frames: int | None
    duration: Fraction | None
    """Seconds."""
    tick: Fraction | None
    """Seconds a unit of the frames' time stamps."""
    rates: tuple[Fraction | None, ...]
    """Frames a second, the best first."""
    aspect: Fraction = Fraction(1)
    """Width of a stored pixel by its height."""
    notices: tuple[str, ...] = ()


class FrameSource(abc.ABC):
    """An iterator of decoded frames in presentation order. Raises VideoError, without a file's name, while it goes."""

    facts: SourceFacts
    clock: Clock
    """Takes the time stamps of all frames that were decoded; the source judges by it whether the file is whole."""

    @abc.abstractmethod
    def peek(self) -> av.VideoFrame | None:
        """The frame that comes next, or None at the end."""

    @abc.abstractmethod
    def __next__(self) -> av.VideoFrame:
        """The next frame."""

    @abc.abstractmethod
    def orientation(self, frame: av.VideoFrame) -> Orientation:
        """Which way up the frame is shown that came last or comes next."""

    @abc.abstractmethod
    def close(self) -> None:
        """Closes whatever is open; can be called again."""

    @property
    def found(self) -> tuple[str, ...]:
        """What a person should know of the frames that came so far."""
        return ()

    def skip_to(self, time: Fraction) -> bool:
        """Leaves out frames before those that are shown that many seconds after the first one, as far as that changes
        nothing about them; the first one was peeked at. False: the source can't go on, and has to be opened anew.
        """
        return True

    def __iter__(self) -> FrameSource:
        return self


class FileFrames(FrameSource):
    """Frames of one stream of a video file, or of a file that holds a picture."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        """Opens the file; raises VideoError with its name where that is no video, without it elsewhere."""
        self._path = path
        picture = picture_facts(path) if path.is_file() else None
        if picture:
            check_pixels(picture.width, picture.height, options)
        self._container = open_video(path)
        try:
            self._stream = video_stream(self._container, path, options.stream)
            context = self._stream.codec_context
            check_pixels(context.width, context.height, options)
            # Later frames can be larger than the header says. Codecs round sizes up to their blocks, hence the margin.
            context.options = {"max_pixels": str(options.max_pixels + options.max_pixels // 8 + 65_536)}
            self._still = picture if self._container.format.name in _STILL else None
            if self._still and self._still.frames > 1 and self._container.format.name == "webp_pipe":
                raise VideoError("it is an animated WebP, which this release of PyAV can't read")
            if self._still and self._still.is_jpeg and breaks_off(path):
                raise VideoError("it is truncated: the end of the picture is missing")
            if self._still and self._still.is_misread:
                raise VideoError("it is a TIFF of a kind that isn't read here (JPEG or YCbCr)", hint="save it as PNG")
            self.facts = _facts_of(path, self._container, self._stream)
            if self._still and self._still.frames > 1:
                pages = "the file holds several pictures; the first is read"
                self.facts = dataclasses.replace(self.facts, notices=(*self.facts.notices, pages))
            self.clock = Clock(self.facts.tick, self.facts.rates)
            alpha = None if options.alpha == "drop" else _alpha_decoder(self._stream)
            self._has_alpha = alpha is not None  # in a stream of its own, with key frames of its own
            self._decoder = Decoder(self._container, self._stream, self._lack, alpha)
        except BaseException:
            self._container.close()
            raise

    def peek(self) -> av.VideoFrame | None:
        return self._decoder.peek()

    def __next__(self) -> av.VideoFrame:
        return next(self._decoder)

    @property
    def found(self) -> tuple[str, ...]:
        joints = self._decoder.joints
        if not joints or not joints.count:
            return ()
        times = "once" if joints.count == 1 else f"{joints.count} times"
        return (f"the file's time stamps jump {times}; what comes after a jump follows at once",)

    def skip_to(self, time: Fraction) -> bool:
        first, tick = self.peek(), self.facts.tick
        if first is None or first.pts is None or tick is None or self._has_alpha:
            return True
        wanted = first.pts + math.floor(time / tick)
        if wanted <= first.pts or not can_seek(self._container, self._stream):
            return True
        try:
            return self._decoder.skip_to(wanted)
        except (VideoError, av.FFmpegError):  # what is wrong there is for reading from the start to find
            return False

    def orientation(self, frame: av.VideoFrame) -> Orientation:
        if self._still:
            return self._still.orientation
        return orientation_of(frame, self._stream.codec_context.codec.canonical_name)

    def close(self) -> None:
        self._decoder.close()
        self._container.close()

    def _lack(self, reach: Reach) -> str | None:
        return shortage(self._path, self._stream, reach, self.clock)


class WindowFrames(FrameSource):
    """Some frames of another source, held in memory: those that were selected, at the rate that was asked for."""

    def __init__(self, frames: Sequence[av.VideoFrame], source: FrameSource) -> None:
        self.facts = dataclasses.replace(source.facts, declared_frames=len(frames))
        self.clock = Clock(self.facts.tick, self.facts.rates)
        self._frames, self._source, self._next = frames, source, 0

    def peek(self) -> av.VideoFrame | None:
        return self._frames[self._next] if self._next < len(self._frames) else None

    def __next__(self) -> av.VideoFrame:
        frame = self.peek()
        if frame is None:
            raise StopIteration
        self._next += 1
        return frame

    def orientation(self, frame: av.VideoFrame) -> Orientation:
        return self._source.orientation(frame)

    def close(self) -> None:
        """Nothing is open here."""


def check_pixels(width: int, height: int, options: ReadOptions) -> None:
    """Raises VideoError for a frame over the limit, before any is decoded."""
    if width * height > options.max_pixels:
        raise VideoError(
            f"a frame of {width}x{height} pixels is over the limit of {options.max_pixels:,}",
            hint="raise the limit with --max-pixels",
        )


def _alpha_decoder(stream: VideoStream) -> CodecContext | None:
    """A decoder that sees transparency where the stream says it has some."""
    name = _WITH_ALPHA.get(stream.codec_context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return None
    context = CodecContext.create(name, "r")
    context.extradata = stream.codec_context.extradata
    context.options = dict(stream.codec_context.options)
    return context


def _facts_of(path: Path, container: InputContainer, stream: VideoStream) -> SourceFacts:
    notices = []
    videos = sum(not is_cover(video) for video in container.streams.video)
    if videos > 1:
        notices.append(f"the file holds {videos} video streams; number {stream.index} is read")
    aspect = exact_fraction(stream.sample_aspect_ratio)
    return SourceFacts(
        container=_container_name(path, container),
        codec=stream.codec_context.codec.canonical_name,
        declared_frames=stream.frames or None,
        duration=_duration_of(container, stream),
        tick=exact_fraction(stream.time_base),
        rates=tuple(exact_fraction(rate) for rate in _rates_of(stream)),
        aspect=aspect if aspect and aspect > 0 else Fraction(1),
        notices=tuple(notices),
    )


def _rates_of(stream: VideoStream) -> tuple[object, ...]:
    """The best first. A cover's are those of its clock, 90,000 a second."""
    return () if is_cover(stream) else (stream.average_rate, stream.guessed_rate, stream.base_rate)


def _container_name(path: Path, container: InputContainer) -> str:
    """FFmpeg names all of a family, "mov,mp4,m4a": the file's suffix where it is one of them, else the first."""
    names = container.format.name.split(",")
    suffix = path.suffix.lower().removeprefix(".")
    return suffix if suffix in names else names[0]


def _duration_of(container: InputContainer, stream: VideoStream) -> Fraction | None:
    tick = exact_fraction(stream.time_base)
    if stream.duration is not None and tick is not None:
        return stream.duration * tick
    return None if container.duration is None else Fraction(container.duration, 1_000_000)
