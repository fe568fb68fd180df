"""Where a batch makes its outputs until they are whole: one hidden folder, gone when the batch ends.

An output gets its name and its row in the manifest in two steps. What is to become of it is written down before, so
that a process that is killed between the two loses neither.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cogvae_cli.errors import InputError, OutputError
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.manifest import Manifest
from cogvae_cli.io.outputs import move_into_place

_PLEDGE = "pledge.json"


class WorkFolder:
    """The folder beside a manifest in which files are made that become outputs. The manifest's lock is its lock too."""

    def __init__(self, out: Path, manifest: Manifest) -> None:
        """Takes up what a killed process left, and starts empty. Raises OutputError."""
        self._out, self._manifest = out, manifest
        self.path = out / f".{manifest.path.stem}.work"
        self.recover()
        try:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir()
        except OSError as error:
            raise OutputError(f"{self.path}: can't be made ({error.strerror})") from error

    def place(self, made: Path, row: Mapping[str, Any], *, overwrite: bool) -> None:
        """Makes a whole file the output that its row names. `enter` comes next.

        Raises OutputExistsError, and OutputError where it can't have that name.
        """
        output = self._out / row["output"]
        pledge = self.path / _PLEDGE
        try:
            self._make_folder(output.parent)
            _write_synced(pledge, json.dumps(dict(row)).encode("ascii"))
            move_into_place(made, output, overwrite=overwrite)
        except OSError as error:
            words = error.strerror or str(error)
            if error.errno == errno.EXDEV:
                words = f"it is on another file system than {self._out}"
            raise OutputError(f"{output}: can't be written ({words})") from error
        made.unlink(missing_ok=True)

    def enter(self, row: Mapping[str, Any]) -> None:
        """Adds the row of an output that was placed."""
        self._manifest.append(row)
        (self.path / _PLEDGE).unlink()

    def recover(self) -> None:
        """Adds the row of an output that has its name already, but no row: its process was stopped just then."""
        try:
            row = json.loads((self.path / _PLEDGE).read_bytes())
            output = self._out / row["output"]
            is_placed = output.stat().st_size == row["output_bytes"] and sha256_of(output) == row["sha256"]
        except (FileNotFoundError, NotADirectoryError, ValueError, InputError):
            return  # nothing was pledged, or the pledge was not yet whole, or its output has no name yet
        if is_placed and self._manifest.last(row["output"]) != row:
            self._manifest.append(row)

    def remove(self) -> None:
        """Takes all of it away; can be called again."""
        self.recover()
        shutil.rmtree(self.path, ignore_errors=True)

    def _make_folder(self, folder: Path) -> None:
        top = os.path.realpath(self._out)
        if os.path.commonpath([top, os.path.realpath(folder)]) != top:
            raise OutputError(
                f"{folder}: a link leads out of {self._out}", "take the link away, or name another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
