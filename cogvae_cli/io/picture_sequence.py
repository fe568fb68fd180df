"""Pictures that make a video: numbered ones, frame%04d.png, or all of a folder in natural order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av

from cogvae_cli.errors import VideoError
from cogvae_cli.io.frame_source import FileFrames, FrameSource, SourceFacts
from cogvae_cli.io.orientation import Orientation
from cogvae_cli.io.pictures import numbered_files, pictures_in
from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.timing import FALLBACK_RATE, Clock


def files_of(source: Path) -> tuple[Path, ...]:
    """The files that a source stands for: itself, if there is a file of that name, else the pictures that it means.

    Raises VideoError for a folder without pictures, or one that can't be looked into.
    """
    try:
        if source.is_dir():
            pictures = tuple(pictures_in(source))
            if not pictures:
                raise VideoError(f"{source}: is a folder without pictures, not a video")
            return pictures
        if not source.exists():
            return tuple(path for _, path in numbered_files(source)) or (source,)
    except (OSError, ValueError) as error:
        raise VideoError(f"{source}: can't be read ({error})") from error
    return (source,)


def is_sequence(source: Path) -> bool:
    """Whether a source is a folder or the pattern of a name, not a file."""
    return not source.is_file() and (source.is_dir() or bool(numbered_files(source)))


class PictureFrames(FrameSource):
    """One frame of each file, opened when it is its turn."""

    def __init__(self, source: Path, files: Sequence[Path], options: ReadOptions) -> None:
        self._files, self._options = files, options
        self._next = 0
        self._current: FileFrames | None = None
        self._ahead: av.VideoFrame | None = None
        first = self._open()
        try:
            rate = options.fps or FALLBACK_RATE
            notices = [] if options.fps else [f"pictures have no times; {rate} frames a second are taken (--fps)"]
            notices.extend(_gap(source))
            self.facts = SourceFacts(
                container="pictures",
                codec=first.facts.codec,
                declared_frames=len(files),
                duration=len(files) / rate,
                tick=1 / rate,
                rates=(rate,),
                aspect=first.facts.aspect,
                notices=tuple(notices),
            )
            self.clock = Clock(1 / rate, [rate])
        except BaseException:
            self.close()
            raise

    def peek(self) -> av.VideoFrame | None:
        if self._ahead is None and self._next < len(self._files):
            self._ahead = self._read()
        return self._ahead

    def __next__(self) -> av.VideoFrame:
        frame = self.peek()
        if frame is None:
            raise StopIteration
        self._ahead = None
        self._next += 1
        return frame

    def orientation(self, frame: av.VideoFrame) -> Orientation:
        if self._current is None:
            raise RuntimeError("no picture was read yet")
        return self._current.orientation(frame)

    def close(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None

    def _open(self) -> FileFrames:
        if self._current is None:
            self._current = FileFrames(self._files[self._next], self._options)
        return self._current

    def _read(self) -> av.VideoFrame:
        path = self._files[self._next]
        try:
            if self._next:
                self.close()
            source = self._open()
            frame = source.peek()
            if frame is None:
                raise VideoError("no frame can be decoded")
        except VideoError as error:
            text = error.message if str(path) in error.message else f"{path.name}: {error.message}"
            raise VideoError(f"{text}, {self._next} frames could be read before it", error.hint) from error
        frame.pts, frame.time_base = self._next, 1 / (self._options.fps or FALLBACK_RATE)
        return frame


def _gap(source: Path) -> list[str]:
    """A notice where numbers of a sequence are missing."""
    numbers = [number for number, _ in numbered_files(source)] if not source.is_dir() else []
    missing = numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0
    verb = "is" if missing == 1 else "are"
    return [f"{missing} of the numbers from {numbers[0]} to {numbers[-1]} {verb} missing"] if missing else []
