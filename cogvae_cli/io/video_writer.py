"""Writing video: RGB frames as H.264 at their exact size and rate, tagged BT.709 and converted by it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

from cogvae_cli.errors import OutputError, UsageError
from cogvae_cli.io.opening import silence
from cogvae_cli.io.rates import checked_rate

_MUXERS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska"}
_FAST_START = ("mp4", "mov")  # the index is moved to the front, so that the file plays while it loads
_MAX_SIDE = 16_384  # of H.264's encoder
_BT709 = 1  # matrix, by H.273

# A filter, for PyAV's reformatter can't place chroma: it would centre it, half a pixel off from where H.264 has it.
_CONVERT = (
    "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact:in_range=full"
    ":out_color_matrix=bt709:out_range=limited:out_chroma_loc=left"
)


@dataclasses.dataclass(frozen=True)
class WriteOptions:
    """How a video is written. `container` is a suffix, "mp4", "mov" or "mkv"; `crf` 0 (lossless) to 51."""

    width: int
    height: int
    rate: Fraction
    container: str = "mp4"
    crf: int = 18
    pix_fmt: str | None = None
    """None: yuv420p for even sizes, yuv444p for odd ones, which 4:2:0 can't hold."""

    def __post_init__(self) -> None:
        if self.container not in _MUXERS:
            raise UsageError(_unsupported(self.container), hint=f"name the output {_listed()}")
        if not (0 < self.width <= _MAX_SIDE and 0 < self.height <= _MAX_SIDE):
            raise UsageError(f"H.264 can't hold {self.width}x{self.height}: a side has 1 to {_MAX_SIDE} pixels")
        if not 0 <= self.crf <= 51:
            raise UsageError(f"a crf of {self.crf} is outside 0 to 51")
        checked_rate(self.rate)
        odd = self.width % 2 or self.height % 2
        if odd and self.pixel_format == "yuv420p":
            raise UsageError(f"yuv420p can't hold the odd size {self.width}x{self.height}", hint="use yuv444p")

    @property
    def pixel_format(self) -> str:
        """Pixel format that is written."""
        odd = self.width % 2 or self.height % 2
        return self.pix_fmt or ("yuv444p" if odd else "yuv420p")


def container_of(path: Path) -> str:
    """The container that a file's suffix asks for: "mp4", "mov" or "mkv". Raises UsageError for another suffix."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in _MUXERS:
        raise UsageError(f"{path}: {_unsupported(suffix)}", hint=f"name the output {_listed()}")
    return suffix


class VideoWriter:
    """Writes frames one after the other; as many come out as went in.

    A context manager: leaving it finishes the file, leaving it by an exception abandons it. The caller removes the
    remains (`outputs.atomic_output`). Raises OutputError; an OSError (disk full) goes through as it is.
    """

    def __init__(self, path: Path, options: WriteOptions) -> None:
        self._path, self._options = path, options
        self.frames = 0
        """Frames written so far."""
        silence()
        self._converter = _converter(options)
        muxer = _MUXERS[options.container]
        fast = {"movflags": "+faststart"} if options.container in _FAST_START else {}
        self._container = av.open(f"file:{path.absolute()}", mode="w", format=muxer, options=fast)
        try:
            self._open_stream()
        except BaseException:
            self._abandon()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._abandon()

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know about the file that is written."""
        if self._options.pixel_format != "yuv444p":
            return ()
        size = f"{self._options.width}x{self._options.height}"
        return (f"the odd size {size} is written as yuv444p (H.264 High 4:4:4), which some players refuse",)

    def write(self, frames: np.ndarray) -> None:
        """Takes the next frames, uint8 [T H W 3]."""
        expected = (self._options.height, self._options.width, 3)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != expected:
            raise ValueError(f"frames are {frames.dtype} {frames.shape}, not uint8 (T, *{expected})")
        for frame in frames:
            self._encode(frame, pts=self.frames)
            self.frames += 1

    def close(self) -> None:
        """Writes what the encoder still holds and finishes the file. Raises OutputError if there was no frame."""
        if not self.frames:
            self._abandon()
            raise OutputError(f"{self._path}: there are no frames to write")
        try:
            self._mux(None)
            self._container.close()
        except BaseException:
            self._abandon()
            raise

    def _open_stream(self) -> None:
        options = self._options
        stream = self._container.add_stream("libx264", rate=options.rate)
        stream.width, stream.height, stream.pix_fmt = options.width, options.height, options.pixel_format
        stream.time_base = 1 / options.rate
        context = stream.codec_context
        context.time_base = 1 / options.rate  # frame i is shown at i ticks, exactly
        context.options = {"crf": str(options.crf)}
        context.colorspace = _BT709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        context.color_range = ColorRange.MPEG
        self._stream = stream

    def _encode(self, pixels: np.ndarray, pts: int) -> None:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = pts, 1 / self._options.rate
        self._converter.push(frame)
        converted = self._converter.pull()
        if not isinstance(converted, av.VideoFrame):
            raise TypeError(f"the colour filter gave {converted}")
        converted.pts = pts
        converted.time_base = 1 / self._options.rate
        converted.duration = 1
        self._mux(converted)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except av.error.ExternalError as error:
            size, rate = f"{self._options.width}x{self._options.height}", self._options.rate
            raise OutputError(f"{self._path}: the H.264 encoder refuses {size} at {rate} frames a second") from error

    def _abandon(self) -> None:
        # The file is given up and what led here is being raised: a second error from closing it says nothing new.
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()


def _converter(options: WriteOptions) -> Graph:
    """The filter that makes BT.709 in limited range of RGB."""
    graph, width, height = Graph(), options.width, options.height
    steps = [
        graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=1 / options.rate),
        graph.add("scale", _CONVERT),
        graph.add("format", f"pix_fmts={options.pixel_format}"),
        graph.add("buffersink"),
    ]
    for step, following in itertools.pairwise(steps):
        step.link_to(following)
    graph.configure()
    return graph


def _unsupported(suffix: str) -> str:
    if suffix == "webm":
        return "WebM can't hold H.264, which is what is written"
    return f"a video can't be written as {'.' + suffix if suffix else 'a file without a suffix'}"


def _listed() -> str:
    names = [f".{name}" for name in _MUXERS]
    return ", ".join(names[:-1]) + " or " + names[-1]
