"""The manifest of a batch: JSON Lines, a row a clip, appended whole, so that it can be read while the batch runs.

The last row about an output is what holds. A line that a killed process tore is cut off, and a finished batch leaves
one row a clip. Memory: about 40 bytes a row.
"""

from __future__ import annotations

import array
import errno
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from cogvae_cli.errors import InputError, OutputError
from cogvae_cli.io.outputs import NO_LOCKS

Row = Mapping[str, Any]

_SYNC_EVERY = 256  # rows; a crash of the machine loses at most so many, and their outputs are found again


def row_hash(output: str) -> int:
    """64 bits that stand for an output's name; two names with the same ones are told apart by their rows."""
    return int.from_bytes(hashlib.blake2b(os.fsencode(output), digest_size=8).digest(), "little")


def shard_end(row: Row) -> tuple[str, int, int]:
    """Where a row's sample ends: the shard, an offset in it, and how many samples it then has."""
    return str(row.get("shard", "")), int(row.get("shard_end", 0)), int(row.get("shard_samples", 0))


class Manifest:
    """A manifest that this process alone writes to, as long as it is open. A context manager.

    Raises OutputError where it can't be written or another process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = _open_locked(path)
        except OSError as error:
            raise OutputError(f"{path}: can't be written ({error.strerror})") from error
        try:
            self.unreadable = 0
            """Lines that are no rows, which only a crash of the machine leaves."""
            self._hashes, self._offsets = array.array("Q"), array.array("Q")
            self.last_shard = ("", 0, 0)
            """Of the sample that is last in the last tar: the tar's name, where the sample ends, its number."""
            self._end = cut_torn_line(self._file)
            self._index()
            self._reader = path.open("rb")
        except BaseException:
            self._file.close()
            raise
        self._unsynced = 0
        self._latest: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._end == 0:
            self.path.unlink(missing_ok=True)  # of a batch that ended before its first row
        self._reader.close()
        self._file.close()

    def __len__(self) -> int:
        """Rows, also those that later ones replaced."""
        return len(self._hashes)

    def last(self, output: str) -> dict[str, Any] | None:
        """The row that holds for an output: of those that were there when the manifest was opened, or the newest."""
        if self._latest is not None and self._latest.get("output") == output:
            return self._latest
        place = int(np.searchsorted(self._known, np.uint64(row_hash(output))))
        if place == len(self._known) or int(self._known[place]) != row_hash(output):
            return None
        row = self._read(int(self._places[place]))
        return row if row is not None and row.get("output") == output else None

    def append(self, row: Row) -> None:
        """Adds a row, in one write. Raises OutputError on a full disk; then nothing is left of the row."""
        line = json.dumps(dict(row), allow_nan=False).encode("ascii") + b"\n"
        try:
            written = os.write(self._file.fileno(), line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._unsynced += 1
            if self._unsynced >= _SYNC_EVERY:
                self.sync()
        except OSError as error:
            os.ftruncate(self._file.fileno(), self._end)
            raise OutputError(f"{self.path}: can't be written ({error.strerror})") from error
        self._hashes.append(row_hash(str(row["output"])))
        self._offsets.append(self._end)
        self._end += len(line)
        self._latest = dict(row)

    def take_over(self, other: Manifest) -> None:
        """Adds the rows that hold in another manifest, whose file is gone then."""
        for row in other.rows():
            self.append(row)
        self.sync()
        other.path.unlink()
        self._index()

    def sync(self) -> None:
        """Has the rows on the disk."""
        os.fdatasync(self._file.fileno())
        self._unsynced = 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows that hold, in the file's order."""
        self._index()
        for line, offset in _lines(self.path):
            row = _parse(line)
            if row is None:
                continue
            place = int(np.searchsorted(self._known, np.uint64(row_hash(row["output"]))))
            if int(self._places[place]) == offset:
                yield row

    @property
    def replaced(self) -> int:
        """Rows that later ones replaced."""
        return len(self._hashes) - len(np.unique(np.frombuffer(self._hashes, np.uint64)))

    def compact(self, temporary: Path) -> None:
        """Leaves only the rows that hold. `temporary`: a new file on the same file system."""
        with temporary.open("xb") as file:
            for row in self.rows():
                file.write(json.dumps(row, allow_nan=False).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    def _index(self) -> None:
        """Where the row stands that holds for each output: hashes in order, and offsets."""
        if not self._hashes:
            for line, offset in _lines(self.path):
                row = _parse(line)
                if row is None:
                    self.unreadable += 1
                else:
                    self._hashes.append(row_hash(row["output"]))
                    self._offsets.append(offset)
                    self.last_shard = max(self.last_shard, shard_end(row))
        hashes, offsets = np.array(self._hashes, np.uint64), np.array(self._offsets, np.uint64)
        order = np.argsort(hashes, kind="stable")
        hashes, offsets = hashes[order], offsets[order]
        is_last = np.append(hashes[1:] != hashes[:-1], True) if len(hashes) else np.zeros(0, bool)
        self._known, self._places = hashes[is_last], offsets[is_last]

    def _read(self, offset: int) -> dict[str, Any] | None:
        self._reader.seek(offset)
        return _parse(self._reader.readline())


def read_manifest(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a manifest that somebody else may be writing to, in the file's order; a torn last line is left out.

    Raises InputError.
    """
    return (row for row, _ in rows_and_offsets(path))


def rows_and_offsets(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """As `read_manifest`, with where in the file each row begins."""
    try:
        for line, offset in _lines(path):
            row = _parse(line)
            if row is not None:
                yield row, offset
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error


def _open_locked(path: Path) -> io.FileIO:
    while True:
        file = path.open("ab+", buffering=0)
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        except BlockingIOError:
            file.close()
            raise OutputError(
                f"{path}: another batch is writing to it", "wait for it, or take another --out-dir"
            ) from None
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in NO_LOCKS:
                return file
            file.close()
            raise
        file.close()  # it was replaced before the lock was held


def cut_torn_line(file: IO[bytes] | io.FileIO) -> int:
    """Cuts off what comes after the last line break; gives the length that is left."""
    size = end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65_536)
        file.seek(start)
        block = file.read(end - start)
        if b"\n" in block:
            end = start + block.rindex(b"\n") + 1
            break
        end = start
    if end != size:
        os.ftruncate(file.fileno(), end)
    return end


def _lines(path: Path) -> Iterator[tuple[bytes, int]]:
    """Whole lines and where they begin."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line, offset
            offset += len(line)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("output"), str) else None
