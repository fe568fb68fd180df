"""Writing video: RGB frames by a codec at their exact size and times, with true colour tags."""

from __future__ import annotations

import abc
import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from av.video.stream import VideoStream

from cogvae_cli.errors import OutputError, UsageError
from cogvae_cli.io.audio_copy import AudioCopy
from cogvae_cli.io.codecs import MUXERS, encoder_options, repeatable
from cogvae_cli.io.frame_conversion import FrameConverter
from cogvae_cli.io.opening import silence
from cogvae_cli.io.write_options import WriteOptions

_SAME_BYTES = {"fflags": "+bitexact"}  # Matroska would number each file by chance
_FAST_START = {"movflags": "+faststart"}  # the index is moved to the front, so that the file plays while it loads
_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}  # a pipe can't go back to write the index
_RGB, _BT709 = 0, 1  # matrices, by H.273
_SMALL = 32  # sides below which FFV1 can't be cut into slices
_FAST_GIF = 50  # frames a second beyond which browsers show a GIF slowed down


class Sink(Protocol):
    """What takes bytes and can't be sought in."""

    def write(self, data: bytes) -> int: ...


class FrameWriter(abc.ABC):
    """Takes frames one after the other; as many are written as came.

    A context manager: leaving it finishes the file, leaving it by an exception abandons it. The caller removes the
    remains. Raises OutputError; an OSError (disk full) goes through as it is.
    """

    frames: int = 0
    """Frames written so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    @property
    @abc.abstractmethod
    def notices(self) -> tuple[str, ...]:
        """What a person should know about the file that is written."""

    @abc.abstractmethod
    def write(self, frames: np.ndarray) -> None:
        """Takes the next frames, uint8 [T H W 3]."""

    @abc.abstractmethod
    def close(self) -> None:
        """Writes what is held back and finishes. Raises OutputError if there was no frame."""

    @abc.abstractmethod
    def abandon(self) -> None:
        """Lets go of the file as it is."""


class VideoWriter(FrameWriter):
    """Writes one video to a file, or to a stream that can't be sought in."""

    def __init__(self, target: Path | Sink, options: WriteOptions) -> None:
        if options.is_pictures:
            raise UsageError("pictures are not written as a video")
        self._name = str(target) if isinstance(target, Path) else "standard output"
        self._options = options
        self._audio: AudioCopy | None = None
        silence()
        self._converter = FrameConverter(options)
        muxer = MUXERS[options.container]
        if isinstance(target, Path):
            more = _FAST_START if options.container in ("mp4", "mov") else {}
            self._container = av.open(f"file:{target.absolute()}", mode="w", format=muxer, options=_SAME_BYTES | more)
        else:
            more = _FRAGMENTED if options.container in ("mp4", "mov") else {}
            self._container = av.open(target, mode="w", format=muxer, options=_SAME_BYTES | more)
        try:
            self._open_stream()
            if options.audio is not None:
                self._audio = AudioCopy(
                    options.audio, self._container, start=options.audio_start, container=options.container
                )
        except BaseException:
            self.abandon()
            raise

    @property
    def notices(self) -> tuple[str, ...]:
        return _notices(self._options)

    def write(self, frames: np.ndarray) -> None:
        check_frames(frames, self._options)
        for frame in frames:
            for converted in self._converter.push(frame):
                self._mux(converted)
            self.frames += 1

    def close(self) -> None:
        if not self.frames:
            self.abandon()
            raise OutputError(f"{self._name}: there are no frames to write")
        try:
            for converted in self._converter.flush():
                self._mux(converted)
            self._mux(None)
            if self._audio is not None:
                last = self.frames - 1
                ticks = self._converter.ticks
                self._audio.copy_until((ticks.begin(last) + ticks.length(last)) * ticks.unit)
                self._audio.close()
            self._container.close()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        # The file is given up and what led here is being raised: a second error from closing it says nothing new.
        with contextlib.suppress(av.FFmpegError, OSError):
            if self._audio is not None:
                self._audio.close()
            self._container.close()

    def _open_stream(self) -> None:
        options, codec = self._options, self._options.codec_facts
        if codec is not None and codec.encoder == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "0")  # it prints on stderr by itself, and listens to nothing else
        encoder = "gif" if codec is None else codec.encoder
        stream = self._container.add_stream(encoder, rate=options.rate)
        if not isinstance(stream, VideoStream):
            raise TypeError(f"{encoder} made {stream}")
        across, down = options.padding
        stream.width, stream.height = options.width + across, options.height + down
        stream.pix_fmt = "pal8" if codec is None else options.pixel_format
        stream.time_base = self._converter.ticks.unit
        context = stream.codec_context
        context.time_base = self._converter.ticks.unit
        if codec is not None:
            context.options = encoder_options(codec, options.crf, options.preset, options.pixel_format)
            context.options |= repeatable(codec, stream.width, stream.height, options.pixel_format)
            context.options |= _slices(options) if encoder == "ffv1" else {}
            context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
            context.colorspace = _RGB if options.is_rgb else _BT709
            context.color_range = ColorRange.JPEG if options.is_rgb else ColorRange.MPEG
        if encoder == "libx265" and options.container in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # Apple's players show nothing that is called otherwise
        self._stream = stream

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            packets = self._stream.encode(frame)
        except (av.error.ExternalError, av.error.ArgumentError, av.error.InvalidDataError) as error:
            options = self._options
            title = options.codec_facts.title if options.codec_facts else "GIF"
            size, rate = f"{options.width}x{options.height}", options.rate
            raise OutputError(f"{self._name}: the {title} encoder refuses {size} at {rate} frames a second") from error
        self._container.mux(packets)
        if self._audio is not None and frame is not None and frame.pts is not None:
            self._audio.copy_until(frame.pts * self._converter.ticks.unit)


def check_frames(frames: np.ndarray, options: WriteOptions) -> None:
    """Raises ValueError for frames of another size or type than was said."""
    expected = (options.height, options.width, 3)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != expected:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}, not uint8 (T, *{expected})")


def _slices(options: WriteOptions) -> dict[str, str]:
    if min(options.width, options.height) < _SMALL:
        return {"slices": "1"}
    return {"level": "3", "slices": "4", "slicecrc": "1"}


def _notices(options: WriteOptions) -> tuple[str, ...]:
    size, codec = f"{options.width}x{options.height}", options.codec_facts
    if codec is None:
        slow = options.rate > _FAST_GIF
        return ("browsers show a GIF of more than 50 frames a second slowed down",) if slow else ()
    across, down = options.padding
    if across or down:
        sides = " and ".join(name for name, is_odd in (("column", across), ("row", down)) if is_odd)
        whole = f"{options.width + across}x{options.height + down}"
        return (f"{options.pixel_format} can't hold the odd size {size}: the last {sides} is repeated, to {whole}",)
    if options.is_odd and options.pixel_format == "yuv444p" and options.pix_fmt is None:
        profile = "H.264 High 4:4:4" if codec.title == "H.264" else f"{codec.title} 4:4:4"
        return (f"the odd size {size} is written as yuv444p ({profile}), which some players refuse",)
    return ()
