"""Opening a local video file: only local files and known containers reach FFmpeg, whatever the file's name."""

from __future__ import annotations

import functools
import os
import stat
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from cogvae_cli.errors import VideoError
from cogvae_cli.io.file_ends import missing_bytes

_PICTURES = ("image2", "png_pipe", "jpeg_pipe", "webp_pipe", "webp_anim", "bmp_pipe", "tiff_pipe", "gif", "apng")
_CONTAINERS = ("mov", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "ivf", "nut")
_STREAMS = ("mxf", "h264", "hevc", "m4v", "obu", "av1", "vvc", "dv", "yuv4mpegpipe", "mjpeg", "rm", "swf", "gxf")
_SOUND = ("wav", "mp3", "flac", "aac", "aiff", "ac3", "eac3", "caf", "w64")  # so that they're named, not "unknown"

# Playlists (hls, dash, concat) and devices would open other files than the one that was named: they aren't here.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join((*_CONTAINERS, *_STREAMS, *_PICTURES, *_SOUND)),
    "pattern_type": "none",  # frame%03d.png is one file of that name
}
_STRICT_TAGS = int(av.__version__.split(".")[0]) < 19
_NOT_VIDEO = "is not a video, or not of a kind that is read here"


def silence() -> None:
    """Stops FFmpeg's own messages: what is wrong is said once, in an exception."""
    av.logging.set_level(None)


def open_video(path: Path) -> InputContainer:
    """Opens a local file for reading; the caller closes it. Raises VideoError with one line that says what is wrong."""
    _check_file(path)
    silence()
    try:
        if _is_text(path):
            return _open(str(path.absolute()))
        with path.open("rb") as file:  # PyAV takes names of UTF-8 only
            return _open(f"/proc/self/fd/{file.fileno()}")
    except av.FFmpegError as error:
        raise VideoError(f"{path}: {_reason(path, error)}") from error


def _open(name: str) -> InputContainer:
    opener: Any = av.open
    # Tags of any encoding: PyAV 19 takes them as they come, and no longer knows the argument.
    tags = functools.partial(opener, metadata_errors="replace") if _STRICT_TAGS else opener
    # "file:" keeps FFmpeg from taking a name such as http:clip.mp4 for an address.
    container: InputContainer = tags(f"file:{name}", mode="r", options=dict(_OPTIONS))
    return container


def _is_text(path: Path) -> bool:
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


def video_stream(container: InputContainer, path: Path, number: int | None = None) -> VideoStream:
    """The video stream of that number in the file, or the one that FFmpeg holds for the main one.

    Raises VideoError where there is none.
    """
    stream = _main_stream(container) if number is None else _numbered_stream(container, path, number)
    if stream is not None:
        context: object = stream.codec_context  # None for an unknown codec, whatever its type says
        if context is None:
            raise VideoError(f"{path}: its video is of a codec that can't be decoded")
        return stream
    if not container.streams and missing_bytes(path, container.format.name):
        raise VideoError(f"{path}: is truncated before the part that describes the video is complete")
    others = [f"{stream.type}: {_codec_name(stream.codec_context)}" for stream in container.streams.audio]
    covers = ["cover art"] if container.streams.video else []
    held = ", ".join([*others, *covers])
    raise VideoError(f"{path}: has no video stream, only {held}" if held else f"{path}: holds nothing to decode")


def _main_stream(container: InputContainer) -> VideoStream | None:
    best = container.streams.best("video")
    if isinstance(best, VideoStream) and not is_cover(best):
        return best
    return next((stream for stream in container.streams.video if not is_cover(stream)), None)


def _numbered_stream(container: InputContainer, path: Path, number: int) -> VideoStream:
    found = next((stream for stream in container.streams.video if stream.index == number), None)
    if found is None:
        numbers = ", ".join(str(stream.index) for stream in container.streams.video) or "none"
        raise VideoError(f"{path}: stream {number} is no video; the video streams are {numbers}")
    return found


def is_cover(stream: VideoStream) -> bool:
    """Whether the stream is a picture attached to a recording, not video."""
    return bool(stream.disposition & Disposition.attached_pic)


def _codec_name(context: object) -> str:
    name = getattr(context, "name", None)
    return name if isinstance(name, str) else "unknown"


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise VideoError(f"{path}: can't be read ({error})") from error
    if stat.S_ISDIR(status.st_mode):
        raise VideoError(f"{path}: is a folder without pictures, not a video")
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(f"{path}: is not a regular file")
    if status.st_size == 0:
        raise VideoError(f"{path}: is empty (0 bytes)")
    if not os.access(path, os.R_OK):
        raise VideoError(f"{path}: can't be read (permission denied)")


def _reason(path: Path, error: av.FFmpegError) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "is truncated or damaged: the part that describes the video (moov) is missing or broken"
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError | av.error.EOFError):
        return _NOT_VIDEO
    return f"can't be read as a video ({error.strerror or error})"
