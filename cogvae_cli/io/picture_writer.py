"""Writing frames as PNG pictures: one, numbered ones, or a folder of them; all are there at the end or none.

By Pillow, which writes the pixels as they are, to the bit.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cogvae_cli.errors import OutputError, OutputExistsError, UsageError
from cogvae_cli.io.outputs import atomic_folder, check_output
from cogvae_cli.io.pictures import is_pattern, numbered_files, pattern_name
from cogvae_cli.io.video_writer import FrameWriter, check_frames
from cogvae_cli.io.write_options import WriteOptions

FIRST_NUMBER = 1
IN_FOLDER = "frame%06d.png"
"""Names of the pictures in a folder."""

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE
_OURS = re.compile(r"frame[0-9]{6,}\.png")


class PictureWriter(FrameWriter):
    """Writes every frame to a file of its own, by numbers from 1, or the only one to `target` itself."""

    def __init__(self, target: Path, options: WriteOptions, *, pattern: str | None) -> None:
        """`target` is a folder where there is a `pattern` of names, else the file."""
        self._target, self._options, self._pattern = target, options, pattern

    @property
    def notices(self) -> tuple[str, ...]:
        return ()

    def write(self, frames: np.ndarray) -> None:
        check_frames(frames, self._options)
        for frame in frames:
            path = self._target
            if self._pattern is not None:
                path = self._target / pattern_name(self._pattern, FIRST_NUMBER + self.frames)
            elif self.frames:
                raise OutputError(f"{self._target}: one picture holds one frame, and there are more")
            with path.open("wb") as file:
                Image.fromarray(np.ascontiguousarray(frame)).save(file, "PNG")
                file.flush()
                os.fsync(file.fileno())
            self.frames += 1

    def close(self) -> None:
        if not self.frames:
            raise OutputError(f"{self._target}: there are no frames to write")

    def abandon(self) -> None:
        """Every file is closed already."""


def check_pictures(output: Path, *, overwrite: bool, frames: int, inputs: Sequence[Path] = ()) -> None:
    """Refuses an output of pictures that can't be written or may not be, before any work is done.

    Raises UsageError for one picture of several frames, else as `check_output` does.
    """
    if is_pattern(output):
        present = numbered_files(output)
        if present and not overwrite:
            raise OutputExistsError(f"{present[0][1]}: exists already", hint="overwrite all of that pattern with -y")
        if {path.resolve() for _, path in present} & {path.resolve() for path in inputs}:
            raise UsageError(f"{output}: its pictures are the input", hint="name another output")
        check_output(output, overwrite=True)
    elif output.suffix.lower() == ".png" and not output.is_dir():
        if frames != 1:
            hint = f"name the output {output.stem}%04d.png, or give a folder with --format png"
            raise UsageError(f"{output}: one picture can't hold {frames} frames", hint=hint)
        check_output(output, overwrite=overwrite, inputs=inputs)
    else:
        _check_folder(output, overwrite=overwrite, inputs=inputs)


def _check_folder(folder: Path, *, overwrite: bool, inputs: Sequence[Path]) -> None:
    if folder.is_symlink():
        raise OutputError(f"{folder}: is a symbolic link, and pictures are not written to where it points")
    if not os.path.lexists(folder):
        check_output(folder, overwrite=overwrite, inputs=inputs)
        return
    if not folder.is_dir():
        raise OutputExistsError(f"{folder}: is a file, not a folder", hint="name another output")
    present = sorted(path.name for path in folder.iterdir())
    if present and not overwrite:
        raise OutputExistsError(f"{folder}: is not empty", hint="replace the pictures in it with -y")
    others = [name for name in present if not _OURS.fullmatch(name)]
    if others:
        raise OutputExistsError(f"{folder}: holds {others[0]}, which is not cogvae's to remove", "name another folder")
    if any(path.parent.resolve() == folder.resolve() for path in inputs):
        raise UsageError(f"{folder}: is the input and can't be the output too", hint="name another output")


@contextlib.contextmanager
def atomic_pictures(output: Path) -> Iterator[tuple[Path, str]]:
    """A new folder to write pictures to, and the pattern of their names; they are in place when the block ends well.

    On any exception the folder is removed. The pictures of an older run are replaced only then. `check_pictures` comes
    first. A folder appears at once; pictures in a folder with other files appear one after the other.
    """
    is_numbered = is_pattern(output)
    with atomic_folder(output) as temporary:
        yield temporary, output.name if is_numbered else IN_FOLDER
        if is_numbered:
            _move_into(temporary, output)
        else:
            _replace_folder(temporary, output)


def _move_into(temporary: Path, output: Path) -> None:
    """Pictures of the same pattern that nobody replaced belonged to a longer video: they go."""
    old = {path.name for _, path in numbered_files(output)}
    for path in sorted(temporary.iterdir()):
        path.replace(output.parent / path.name)
        old.discard(path.name)
    for name in old:
        (output.parent / name).unlink(missing_ok=True)


def _replace_folder(temporary: Path, output: Path) -> None:
    """The new folder takes the old one's name at once; the old pictures go with the temporary name."""
    if not output.is_dir() or not any(output.iterdir()):
        temporary.rename(output)  # onto an empty folder too
    elif not _exchanged(temporary, output):
        aside = temporary.with_name(f"{temporary.name}.old")
        output.rename(aside)
        try:
            temporary.rename(output)
        except BaseException:
            aside.rename(output)
            raise
        shutil.rmtree(aside)


def _exchanged(one: Path, other: Path) -> bool:
    """Swaps two names by Linux' renameat2, which Python doesn't have; False where the system or the disk can't."""
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    done: int = swap(_HERE, os.fsencode(one.absolute()), _HERE, os.fsencode(other.absolute()), _EXCHANGE)
    return done == 0
