"""A log for whoever looks after a long job: a line an event, with its time in UTC."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cogvae_cli.errors import OutputError


class LogFile:
    """Appends lines to a file, or does nothing where there is none. A context manager. Raises OutputError."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[str] | None = None
        self._path = path
        if path is not None:
            try:
                self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
            except OSError as error:
                raise OutputError(f"{path}: can't be written ({error.strerror})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, text: str) -> None:
        """Adds `2026-11-25T09:30:00Z text`, on one line."""
        if self._file is None:
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self._file.write(f"{stamp} {' '.join(text.split())}\n")
        except OSError as error:
            raise OutputError(f"{self._path}: can't be written ({error.strerror})") from error
