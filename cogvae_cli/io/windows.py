"""Long videos cut into clips of so many frames: in one pass, which holds the frames of one clip."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from cogvae_cli.errors import VideoError
from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.video_reader import VideoReader


class Cut:
    """The frames of one window, which can be read as a video, again and again."""

    def __init__(self, start: int, frames: Sequence[av.VideoFrame], reader: VideoReader, options: ReadOptions) -> None:
        self.start = start
        """Number of its first frame among those that the options select."""
        self._frames, self._reader = frames, reader
        self._options = dataclasses.replace(options, skip=start)

    def open(self) -> VideoReader:
        """A reader of these frames, as if the video had no others."""
        return VideoReader(self._reader.path, self._options, window=self._frames, of=self._reader)


class Windows:
    """A video's windows of `options.frames` frames: each whole one; of a shorter video all of it. A context manager.

    Iterate once. Raises VideoError as VideoReader does; with `on_error="keep"` what comes before the damage is given.
    """

    def __init__(self, path: Path, options: ReadOptions, first: int = 0) -> None:
        """Leaves out windows that start before frame number `first`, which is the start of one."""
        if options.frames is None or options.window is None:
            raise ValueError("windows have a length and a kind")
        self._options, self._first, self._length = options, first, options.frames
        self._reader = VideoReader(path, dataclasses.replace(options, frames=None, window=None))
        self.files = self._reader.files
        """The files that are read."""
        self.damage: str | None = None
        """What is wrong with the file, once reading met it and kept what came before."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def __iter__(self) -> Iterator[Cut]:
        held: deque[av.VideoFrame] = deque()
        start = self._first
        for seen, frame in enumerate(self._frames(), 1):
            if seen > start:
                held.append(frame)
            if len(held) == self._length:
                yield self._cut(start, held)
                start += self._options.stride
                while held and seen - len(held) < start:
                    held.popleft()
        if held and start == 0:
            yield self._cut(start, held)
        elif start == self._first:
            raise VideoError(f"{self._reader.path}: has no clip of {self._length} frames from frame {start} on")

    def _cut(self, start: int, held: Sequence[av.VideoFrame]) -> Cut:
        return Cut(start, tuple(held), self._reader, self._options)

    def _frames(self) -> Iterator[av.VideoFrame]:
        given = False
        try:
            for frame in self._reader.decoded():
                given = True
                yield frame
        except VideoError as error:
            if self._options.on_error == "fail" or not given:
                raise VideoError(f"{self._reader.path}: {error.message}", error.hint) from error
            self.damage = error.message
