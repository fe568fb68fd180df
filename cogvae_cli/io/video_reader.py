"""Reading video: frames of a local file as RGB, upright, in the order they are shown, every one counted by decoding."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

from cogvae_cli.errors import VideoError
from cogvae_cli.io.colours import ColourFacts
from cogvae_cli.io.deinterlacing import deinterlaced
from cogvae_cli.io.finishing import Finisher
from cogvae_cli.io.frame_source import FileFrames, FrameSource, WindowFrames
from cogvae_cli.io.picture_sequence import PictureFrames, files_of, is_sequence
from cogvae_cli.io.rates import snapped
from cogvae_cli.io.read_options import PLAIN, ReadOptions, seconds_text
from cogvae_cli.io.selection import FrameTimes, Timed, earliest, selected
from cogvae_cli.io.standard_streams import STDIN_NAME, is_spooled
from cogvae_cli.io.timing import FALLBACK_RATE, Clock, Timing


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a file's headers and its first frame say. Counts and durations of headers are hints; only reading counts."""

    name: str
    container: str
    codec: str
    pix_fmt: str
    width: int
    """Of the frames that are given out: as shown, after rotation, with square pixels."""
    height: int
    rate: Fraction | None
    declared_frames: int | None
    duration: Fraction | None
    """Seconds."""
    colour: ColourFacts
    bytes: int
    pixel_aspect: Fraction = Fraction(1)
    """Width of a stored pixel by its height, as shown."""
    stored: tuple[int, int] = (0, 0)
    """Width and height of the frames that are stored."""


def probe(path: Path, options: ReadOptions | None = None) -> VideoInfo:
    """Facts about a video, from its headers and its first frame. Raises VideoError."""
    with VideoReader(path, options) as reader:
        return reader.info


class VideoReader:
    """Reads one video from its start to its end, once; holds one chunk and the decoder's few frames, never the video.

    A video is a file, a folder of pictures, or numbered pictures named by a pattern. A context manager. Raises
    VideoError: at once for what can't be read at all, and while reading for what breaks later (damaged or missing
    data, another size, HDR), unless the options keep what is good.
    """

    def __init__(
        self,
        path: Path,
        options: ReadOptions | None = None,
        *,
        window: Sequence[av.VideoFrame] = (),
        of: VideoReader | None = None,
    ) -> None:
        """Opens the file and decodes its first frame; or takes a `window`, frames that `of` has decoded."""
        self.path, self._options = path, options or ReadOptions()
        self._decoded = self._given = 0
        self._timing: Timing | None = None
        self._notices: list[str] = []
        self.damage: str | None = None
        """What is wrong with the file, once reading met it and kept what came before."""
        self.files = files_of(path)
        """The files that are read."""
        with _naming(self._name):
            self._source: FrameSource = self._open() if of is None else WindowFrames(window, of._source)
        try:
            with _naming(self._name):
                self._start()
        except BaseException:
            self._source.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; can be called again."""
        self._source.close()

    @property
    def timing(self) -> Timing:
        """Count, rate and times of the frames. Only after the last frame was read."""
        if self._timing is None:
            raise RuntimeError("the timing of a video is known only after its last frame was read")
        return self._timing

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know about how this file was read; complete after the last frame."""
        source = self._source
        return (*source.facts.notices, *self._finisher.notices, *source.found, *self._notices)

    @property
    def expected_frames(self) -> int | None:
        """How many frames will come, as far as headers tell; None where they don't."""
        options, declared = self._options, self.info.declared_frames
        if not options.selects or isinstance(self._source, WindowFrames):
            return declared
        return options.frames if (options.fps, options.start, options.duration) == (None, None, None) else None

    def record(self) -> dict[str, str]:
        """What was asked for and done to the frames, for the header of latents; complete after the last frame."""
        return asked(self._options) | self._finisher.record() | ({"damaged": self.damage} if self.damage else {})

    def frames(self) -> Iterator[np.ndarray]:
        """All frames, each uint8 [H W 3] of its own, in the order they are shown. Can be asked for once."""
        shown_times = Clock(self._source.facts.tick, self._source.facts.rates)
        try:
            for frame in self.decoded():
                pixels = self._finisher.finish(frame)
                shown_times.add(frame.pts)
                self._given += 1
                yield pixels
            if not self._given:
                raise VideoError("none of its frames is in the part that was asked for")
        except VideoError as error:
            if self._options.on_error == "fail" or not self._given:
                raise _named(self._name, error) from error
            self.damage = error.message
        self._finish(shown_times)

    def decoded(self) -> Iterator[av.VideoFrame]:
        """The frames that were asked for, as they come from the decoder. In the place of `frames`."""
        options = self._selection
        if not options.selects and not options.skip:  # times are for choosing by
            yield from self._in_fields()
            return
        for frame, _ in selected(self._timed(), options, self._source.facts.tick, self._rate()):
            yield frame

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

    def _open(self) -> FrameSource:
        if is_sequence(self.path):
            return PictureFrames(self.path, self.files, self._options)
        return FileFrames(self.path, self._options)

    def _start(self) -> None:
        """Decodes the first frame and learns from it what headers get wrong: size, colours, which way is up."""
        first = self._source.peek()
        if first is None:
            raise VideoError("no frame can be decoded")
        self._first_stamp = first.pts
        self._skip()
        self._finisher = Finisher(self._source, first, self._options)
        facts = self._source.facts
        rate = next((rate for rate in facts.rates[:2] if rate), None)
        self.info = VideoInfo(
            name=STDIN_NAME if is_spooled(self.path) else self.path.absolute().name or self._name,
            container=facts.container,
            codec=facts.codec,
            pix_fmt=first.format.name,
            width=self._finisher.size[0],
            height=self._finisher.size[1],
            rate=None if rate is None else snapped(rate),
            declared_frames=facts.declared_frames,
            duration=facts.duration,
            colour=self._finisher.colour,
            bytes=sum(path.stat().st_size for path in self.files),
            pixel_aspect=self._finisher.aspect,
            stored=(first.width, first.height),
        )

    def _skip(self) -> None:
        """Leaves out what comes long before the part that was asked for, where the file allows it."""
        options = self._options
        if options.start is None or options.deinterlace:  # which looks at the frame before
            return
        if isinstance(self._source, WindowFrames):
            return
        if not self._source.skip_to(earliest(options, self._source.facts.tick)):
            self._source.close()
            self._source = self._open()

    @property
    def _name(self) -> str:
        return str(self.path)

    @property
    def _selection(self) -> ReadOptions:
        """Pictures have the rate that was asked for and need no resampling; of a window nothing is left to select."""
        if isinstance(self._source, WindowFrames):
            return PLAIN
        is_pictures = isinstance(self._source, PictureFrames)
        return dataclasses.replace(self._options, fps=None) if is_pictures else self._options

    def _rate(self) -> Fraction:
        return next((snapped(rate) for rate in self._source.facts.rates if rate), FALLBACK_RATE)

    def _timed(self) -> Iterator[Timed]:
        times = FrameTimes(self._source.facts.tick, self._rate(), self._first_stamp)
        for frame in self._in_fields():
            yield frame, times.of(frame)

    def _in_fields(self) -> Iterator[av.VideoFrame]:
        """What is decoded, deinterlaced where that was asked for."""
        is_due = self._options.deinterlace and not isinstance(self._source, WindowFrames)
        return deinterlaced(self._checked()) if is_due else self._checked()

    def _checked(self) -> Iterator[av.VideoFrame]:
        for frame in self._source:
            self._finisher.check(frame, self._decoded)
            self._source.clock.add(frame.pts)
            self._decoded += 1
            yield frame

    def _empty(self, frames: int) -> np.ndarray:
        return np.empty((frames, self.info.height, self.info.width, 3), np.uint8)

    def _finish(self, shown_times: Clock) -> None:
        timing, notice = shown_times.timing()
        if self._options.fps is not None and not isinstance(self._source, PictureFrames):
            timing, notice = Timing(self._given, self._options.fps, variable=False, times=None), None
        if notice:
            self._notices.append(notice)
        if self.damage:
            self._notices.append(f"{self.damage}; the {self._given} good frames before that are kept")
        self._timing = timing


def _named(name: str, error: VideoError) -> VideoError:
    return error if error.message.startswith(name) else VideoError(f"{name}: {error.message}", error.hint)


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    try:
        yield
    except VideoError as error:
        raise _named(name, error) from error


def asked(options: ReadOptions) -> dict[str, str]:
    """What of the options isn't plain, as the header of latents records it."""
    values: dict[str, str | None] = {
        "fps": None if options.fps is None else str(options.fps),
        "start": None if options.start is None else seconds_text(options.start),
        "duration": None if options.duration is None else seconds_text(options.duration),
        "frames": None if options.frames is None else str(options.frames),
        "stream": None if options.stream is None else str(options.stream),
        "autorotate": None if options.autorotate else "no",
        "colorspace": options.colorspace,
        "deinterlace": "bwdif" if options.deinterlace else None,
        "size": None if options.size is None else f"{options.size[0]}x{options.size[1]}",
        "buckets": ",".join(f"{width}x{height}" for width, height in options.buckets) or None,
        "fit": None if options.size is None and not options.buckets else options.fit,
        "mirror": "yes" if options.mirror else None,
        "window": None if options.window is None else str(options.window),
        "start_frame": None if options.window is None else str(options.skip),
    }
    return {name: value for name, value in values.items() if value is not None}
