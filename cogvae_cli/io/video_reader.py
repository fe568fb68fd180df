"""Reading video: frames of a local file as RGB, upright, in the order they are shown, every one counted by decoding."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from cogvae_cli.errors import VideoError
from cogvae_cli.io.colours import ColourFacts, RgbConverter, facts_of, has_wide_primaries
from cogvae_cli.io.decoding import Decoder, Reach
from cogvae_cli.io.opening import open_video, video_stream
from cogvae_cli.io.orientation import Orientation, orientation_of
from cogvae_cli.io.rates import exact_fraction, snapped
from cogvae_cli.io.timing import Clock, Timing
from cogvae_cli.io.wholeness import shortage

MAX_PIXELS = 35_400_000
"""Pixels of a frame that are read unless asked otherwise: 8192x4320."""


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a file's headers and its first frame say. Counts and durations of headers are hints; only reading counts."""

    name: str
    container: str
    codec: str
    pix_fmt: str
    width: int
    """Of the frames that are given out: as shown, after rotation."""
    height: int
    rate: Fraction | None
    declared_frames: int | None
    duration: Fraction | None
    """Seconds."""
    colour: ColourFacts
    bytes: int
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel by its height. Frames are given out as stored, not stretched."""


def probe(path: Path) -> VideoInfo:
    """Facts about a video, from its headers and its first frame. Raises VideoError."""
    with VideoReader(path) as reader:
        return reader.info


class VideoReader:
    """Reads one video from its start to its end, once; holds one chunk and the decoder's few frames, never the video.

    A context manager. Raises VideoError: at once for what can't be read at all, and while reading for what breaks
    later (damaged or missing data, another size, HDR).
    """

    def __init__(self, path: Path, *, max_pixels: int = MAX_PIXELS) -> None:
        """Opens the file and decodes its first frame. `max_pixels` bounds a frame before any is decoded."""
        self._path = path
        self._read = 0
        self._timing: Timing | None = None
        self._notices: list[str] = []
        self._container = open_video(path)
        try:
            self._stream = video_stream(self._container, path)
            self._limit_pixels(max_pixels)
            rates = (self._stream.average_rate, self._stream.guessed_rate, self._stream.base_rate)
            self._clock = Clock(exact_fraction(self._stream.time_base), [exact_fraction(rate) for rate in rates])
            self._decoder = Decoder(self._container, self._stream, self._lack)
            self._converter = RgbConverter()
            self._start()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; can be called again."""
        self._decoder.close()
        self._container.close()

    @property
    def timing(self) -> Timing:
        """Count, rate and times of the frames. Only after the last frame was read."""
        if self._timing is None:
            raise RuntimeError("the timing of a video is known only after its last frame was read")
        return self._timing

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know about how this file was read; complete after the last frame."""
        return tuple(self._notices)

    def frames(self) -> Iterator[np.ndarray]:
        """All frames, each uint8 [H W 3] of its own, in the order they are shown. Can be asked for once."""
        try:
            for frame in self._decoder:
                pixels = self._convert(frame)
                self._read += 1
                yield pixels
            self._finish()
        except VideoError as error:
            raise VideoError(f"{self._path}: {error.message}", error.hint) from error

    def chunks(self, first: int, rest: int) -> Iterator[np.ndarray]:
        """All frames as uint8 [T H W 3]: one chunk of `first` frames, then of `rest`; the last may be shorter."""
        size, filled = first, 0
        chunk = self._empty(size)
        for frame in self.frames():
            if filled == size:
                yield chunk
                size, filled = rest, 0
                chunk = self._empty(size)
            chunk[filled] = frame
            filled += 1
        yield chunk[:filled]

    def _empty(self, frames: int) -> np.ndarray:
        return np.empty((frames, self.info.height, self.info.width, 3), np.uint8)

    def _limit_pixels(self, max_pixels: int) -> None:
        context = self._stream.codec_context
        if context.width * context.height > max_pixels:
            raise VideoError(
                f"{self._path}: a frame of {context.width}x{context.height} pixels is over the limit of {max_pixels:,}",
                hint="raise the limit with --max-pixels",
            )
        # Later frames can be larger than the header says. Codecs round sizes up to their blocks, hence the margin.
        context.options = {"max_pixels": str(max_pixels + max_pixels // 8 + 65_536)}

    def _start(self) -> None:
        """Decodes the first frame and learns from it what headers get wrong: size, colours, which way is up."""
        try:
            first = self._decoder.peek()
            if first is None:
                raise VideoError("no frame can be decoded")
            self._size = (first.width, first.height)
            self._rotation = first.rotation
            self._orientation = orientation_of(first, self._stream.codec_context.codec.canonical_name)
            self.info = _info_of(self._path, self._container, self._stream, first, self._orientation)
        except VideoError as error:
            raise VideoError(f"{self._path}: {error.message}", error.hint) from error
        self._note_first(first)

    def _convert(self, frame: av.VideoFrame) -> np.ndarray:
        if (frame.width, frame.height) != self._size:
            old, new = f"{self._size[0]}x{self._size[1]}", f"{frame.width}x{frame.height}"
            raise VideoError(f"its size changes from {old} to {new} after {self._read} frames")
        if frame.rotation != self._rotation:
            raise VideoError(f"its rotation changes after {self._read} frames")
        self._clock.add(frame.pts)
        return self._orientation.apply(self._converter.convert(frame))

    def _finish(self) -> None:
        timing, notice = self._clock.timing()
        if notice:
            self._notices.append(notice)
        if self._converter.transparent:
            self._notices.append("transparency is dropped: transparent pixels show the colour stored in them")
        self._timing = timing

    def _lack(self, reach: Reach) -> str | None:
        return shortage(self._path, self._stream, reach, self._clock.timing()[0])

    def _note_first(self, first: av.VideoFrame) -> None:
        videos = len(self._container.streams.video)
        if videos > 1:
            self._notices.append(f"the file holds {videos} video streams; number {self._stream.index} is read")
        if self.info.colour.assumed:
            matrix = "BT.709" if self.info.colour.matrix == "bt709" else "BT.601"
            self._notices.append(f"the file doesn't name its colour matrix; {matrix} is assumed from its height")
        if has_wide_primaries(first):
            self._notices.append("colours keep BT.2020's primaries; they are not converted to BT.709's")
        if abs(self.info.pixel_aspect - 1) > Fraction(1, 100):
            self._notices.append(f"pixels are not square ({self.info.pixel_aspect}); frames are not stretched")
        if first.interlaced_frame:
            self._notices.append("the video is interlaced; its fields are not separated")
        if self._stream.metadata.get("alpha_mode") == "1":
            self._notices.append("transparency is dropped: the stream's alpha channel is not read")


def _info_of(
    path: Path, container: InputContainer, stream: VideoStream, first: av.VideoFrame, orientation: Orientation
) -> VideoInfo:
    width, height = orientation.size(first.width, first.height)
    rate = exact_fraction(stream.average_rate) or exact_fraction(stream.guessed_rate)
    aspect = exact_fraction(stream.sample_aspect_ratio) or Fraction(1)
    return VideoInfo(
        name=path.name,
        container=_container_name(path, container),
        codec=stream.codec_context.codec.canonical_name,
        pix_fmt=first.format.name,
        width=width,
        height=height,
        rate=None if rate is None else snapped(rate),
        declared_frames=stream.frames or None,
        duration=_duration_of(container, stream),
        colour=facts_of(first),
        bytes=path.stat().st_size,
        pixel_aspect=1 / aspect if orientation.transpose else aspect,
    )


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
