"""What is known of a video only once it was read to its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from cogvae_cli.pipeline.progress import Progress

if TYPE_CHECKING:
    from cogvae_cli.io.read_options import ReadOptions
    from cogvae_cli.io.timing import Timing
    from cogvae_cli.io.video_reader import VideoReader
    from cogvae_cli.io.windows import Cut


Readers = Iterator[AbstractContextManager["VideoReader"]]


def fresh_readers(path: Path, options: ReadOptions, opened: VideoReader) -> Readers:
    """The reader that is open already, then new ones: for attempts of which the second reads all again."""
    yield nullcontext(opened)
    while True:
        yield type(opened)(path, options)


def reopened(cut: Cut, opened: VideoReader) -> Readers:
    """As `fresh_readers`, of a window."""
    yield nullcontext(opened)
    while True:
        yield cut.open()


def centred(path: Path, options: ReadOptions, progress: Progress) -> ReadOptions:
    """With the frames to skip filled in, where those in the middle are asked for. Raises VideoError."""
    if options.window is None or options.window.kind != "center" or options.frames is None:
        return options
    every = dataclasses.replace(options, frames=None, window=None)
    spare = timing_of(path, progress, every).frames - options.frames
    return dataclasses.replace(options, skip=max(0, spare // 2))


def timing_of(source: Path, progress: Progress, options: ReadOptions | None = None) -> Timing:
    """Counts a video's frames by decoding all of them. Raises VideoError."""
    from cogvae_cli.io.video_reader import VideoReader

    progress.phase("counting the frames")
    with VideoReader(source, options) as reader:
        for _ in reader.frames():
            pass
        return reader.timing
