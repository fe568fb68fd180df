"""Where results go: a file that appears whole or not at all, pictures, or standard output."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from cogvae_cli.errors import OutputError, UsageError
from cogvae_cli.io.audio_copy import check_audio
from cogvae_cli.io.outputs import atomic_output, check_output
from cogvae_cli.io.picture_writer import PictureWriter, atomic_pictures, check_pictures
from cogvae_cli.io.pictures import is_pattern, numbered_files
from cogvae_cli.io.standard_streams import STANDARD
from cogvae_cli.io.video_writer import FrameWriter, VideoWriter
from cogvae_cli.io.write_options import WriteOptions


class _Pipe:
    """Standard output as what it is to a muxer: something that only grows."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        """All of it, where an unbuffered stream takes a part at a time."""
        rest = memoryview(data)
        with _named():
            while rest:
                rest = rest[self._stream.write(rest) :]
        return len(data)

    def flush(self) -> None:
        """Hands on what is held back."""
        with _named():
            self._stream.flush()


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Says that it was standard output that failed. A reader that went away is no failure to be told of."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output can't be written ({error.strerror or error})") from error


@contextlib.contextmanager
def whole_file(output: Path, *, overwrite: bool, inputs: Sequence[Path] = (), lasting: bool = True) -> Iterator[Path]:
    """A path to write to; what is there when the block ends well becomes the output, or goes to standard output.

    Raises as `atomic_output` does, and UsageError where standard output is a terminal.
    """
    if output != STANDARD:
        with atomic_output(output, overwrite=overwrite, inputs=inputs, lasting=lasting) as part:
            yield part
        return
    stream = _stdout()
    with tempfile.TemporaryDirectory(prefix="cogvae-") as folder:
        part = Path(folder) / "output"
        yield part
        pipe = _Pipe(stream)
        with part.open("rb") as file:
            shutil.copyfileobj(file, pipe, 1 << 20)
        pipe.flush()


def check_file(output: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuses what `whole_file` would, before any work is done."""
    if output == STANDARD:
        _stdout()
    else:
        check_output(output, overwrite=overwrite, inputs=inputs)


def check_video(
    output: Path, options: WriteOptions, *, frames: int, overwrite: bool, inputs: Sequence[Path] = ()
) -> None:
    """Refuses what `video_writer` would, and sound that can't be copied, before any work is done."""
    if options.audio is not None:
        check_audio(options.audio, options.container)
    if options.is_pictures and output != STANDARD:
        check_pictures(output, overwrite=overwrite, frames=frames, inputs=inputs)
    else:
        check_file(output, overwrite=overwrite, inputs=inputs)


@contextlib.contextmanager
def video_writer(
    output: Path, options: WriteOptions, *, overwrite: bool, inputs: Sequence[Path] = ()
) -> Iterator[FrameWriter]:
    """The writer of a video; its file is in place when the block ends well. `check_video` comes first."""
    if output == STANDARD:
        pipe = _Pipe(_stdout())
        with VideoWriter(pipe, options) as streamed:
            yield streamed
        pipe.flush()
    elif not options.is_pictures:
        with atomic_output(output, overwrite=overwrite, inputs=inputs) as part, VideoWriter(part, options) as writer:
            yield writer
    elif output.suffix.lower() == ".png" and not output.is_dir() and not is_pattern(output):
        with (
            atomic_output(output, overwrite=overwrite, inputs=inputs) as part,
            PictureWriter(part, options, pattern=None) as picture,
        ):
            yield picture
    else:
        with atomic_pictures(output) as (folder, pattern), PictureWriter(folder, options, pattern=pattern) as pictures:
            yield pictures


def size_of(output: Path) -> int:
    """Bytes of a finished output; of pictures all together; 0 for standard output."""
    if output.is_file():
        return output.stat().st_size
    parts = output.iterdir() if output.is_dir() else (path for _, path in numbered_files(output))
    return sum(path.stat().st_size for path in parts)


def _stdout() -> BinaryIO:
    stream = sys.stdout.buffer
    if stream.isatty():
        raise UsageError("standard output is a terminal", hint="pipe it into another program, or name a file")
    return stream
