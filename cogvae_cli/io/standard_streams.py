"""Standard input as a file that can be read twice."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cogvae_cli.errors import CogvaeError, OutputError, UsageError

STANDARD = Path("-")
"""The path that stands for standard input or standard output."""

STDIN_NAME = "stdin"
"""What a latents file records as the name of what came through standard input."""

_SPOOLED = re.compile(r"/proc/self/fd/[0-9]+")


def is_spooled(path: Path) -> bool:
    """Whether the path is one that `local` gave for standard input."""
    return _SPOOLED.fullmatch(str(path)) is not None


@contextlib.contextmanager
def local(path: Path) -> Iterator[Path]:
    """A path that can be opened, more than once, and sought in: `-` is copied to a file without a name first.

    Video can end with the index that is needed to read it, and latents are checked before they are used. The copy
    vanishes with the process. Errors call it standard input.
    Raises UsageError where standard input is a terminal, OutputError on a full disk.
    """
    if path != STANDARD:
        yield path
        return
    stream = sys.stdin.buffer
    if stream.isatty():
        raise UsageError("standard input is a terminal", hint="pipe a file into it, or name one instead of -")
    with tempfile.TemporaryFile() as file:
        try:
            shutil.copyfileobj(stream, file, 1 << 20)
            file.flush()
        except OSError as error:
            words = error.strerror or str(error)
            raise OutputError(f"standard input can't be kept in {tempfile.gettempdir()} ({words})") from error
        spooled = Path(f"/proc/self/fd/{file.fileno()}")
        try:
            yield spooled
        except CogvaeError as error:
            message = error.message.replace(str(spooled), "standard input")
            raise type(error)(message, error.hint) from error
