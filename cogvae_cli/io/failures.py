"""The list of clips that failed, in JSON Lines: it grows while a batch runs, and is set right at its end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from cogvae_cli.errors import OutputError
from cogvae_cli.io.manifest import cut_torn_line


class FailureList:
    """The file that can be given as input to try its clips again. Raises OutputError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a clip; what a killed process tore is cut off before."""
        try:
            if self._file is None:
                self._file = self.path.open("ab+", buffering=0)
                cut_torn_line(self._file)
            self._file.write(_line(row))
        except OSError as error:
            raise OutputError(f"{self.path}: can't be written ({error.strerror})") from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def replace(self, rows: Iterable[Mapping[str, Any]], temporary: Path) -> bool:
        """Leaves these clips in it, or no file where there are none; says whether there are any."""
        self.close()
        count = 0
        try:
            with temporary.open("wb") as file:
                for row in rows:
                    count += 1
                    file.write(_line(row))
            if count:
                temporary.replace(self.path)
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: can't be written ({error.strerror})") from error
        return bool(count)


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(row), allow_nan=False).encode("ascii") + b"\n"
