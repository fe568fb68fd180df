"""Shards of a data set: tar files of bounded size in the form that WebDataset reads, two members a sample.

`a/b.npz` is the latents file, byte for byte, and `a/b.json` its row of the manifest. A shard only grows; what a killed
process left of a sample behind the last one that has a row is cut off when writing goes on.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Self

from cogvae_cli.errors import OutputError, UsageError
from cogvae_cli.io.manifest import Manifest, shard_end

_BLOCK = 512
_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9}
_NAME = re.compile(r"(?P<stem>.*-)(?P<number>\d{6})\.tar")


@dataclass(frozen=True)
class ShardLimit:
    """When a shard is full: as soon as it has so many samples, or another one would make it larger."""

    samples: int | None = None
    size: int | None = None
    """Bytes."""

    @classmethod
    def parse(cls, text: str) -> ShardLimit:
        """`1000` samples, or a size: `500MB`, `1GB`. Raises UsageError."""
        match = re.fullmatch(r"([1-9]\d{0,8})(kB|MB|GB)?", text)
        if match is None:
            raise UsageError(f"{text!r} is no bound of a shard", "give a count of clips, 1000, or a size: 500MB, 1GB")
        if match[2] is None:
            return cls(samples=int(match[1]))
        return cls(size=int(match[1]) * _UNITS[match[2]])


class ShardWriter:
    """Appends samples to the shards beside a manifest. A context manager. Raises OutputError."""

    def __init__(self, manifest: Manifest, limit: ShardLimit) -> None:
        """Goes on behind the last sample that has a row."""
        self._folder, self._limit = manifest.path.parent, limit
        self._prefix = manifest.path.stem.replace("manifest", "shard", 1) + "-"
        self._file: IO[bytes] | None = None
        name, end, samples = manifest.last_shard
        match = _NAME.fullmatch(name)
        self._number = int(match["number"]) if match else 0
        self._end, self._samples = end, samples
        self._drop_later()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()

    def add(self, made: Path, row: Mapping[str, Any]) -> dict[str, Any]:
        """Appends a file as a sample; gives the fields of its row that say where it is."""
        key = key_of(row["output"])
        size = made.stat().st_size
        members = [_header(f"{key}{made.suffix}", size)]
        note = json.dumps(dict(row), sort_keys=True).encode("ascii")
        members.append(_header(f"{key}.json", len(note)))
        whole = sum(map(len, members)) + _padded(size) + _padded(len(note))
        try:
            file = self._room_for(whole)
            start = self._end
            file.seek(start)
            file.truncate()
            file.write(members[0])
            with made.open("rb") as data:
                while block := data.read(1 << 20):
                    file.write(block)
            file.write(bytes(_padded(size) - size))
            file.write(members[1] + note + bytes(_padded(len(note)) - len(note)))
            file.flush()
            os.fdatasync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self._path}: can't be written ({error.strerror})") from error
        self._end, self._samples = start + whole, self._samples + 1
        place = {"shard": self._path.name, "shard_offset": start + len(members[0]), "shard_end": self._end}
        return place | {"shard_samples": self._samples}

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._prefix}{self._number:06}.tar"

    def _room_for(self, whole: int) -> IO[bytes]:
        """The shard that has room for that many bytes more; one that holds nothing has room for anything."""
        limit = self._limit
        is_full = (limit.samples is not None and self._samples >= limit.samples) or (
            limit.size is not None and self._end + whole + 2 * _BLOCK > limit.size
        )
        if self._samples and is_full:
            self._finish()
            self._number, self._end, self._samples = self._number + 1, 0, 0
        if self._file is None:
            self._file = self._path.open("r+b" if self._path.exists() else "w+b")
        return self._file

    def _finish(self) -> None:
        """Ends the archive as tar has it, so that any program reads it; more can be appended all the same."""
        if self._file is not None:
            self._file.seek(self._end)
            self._file.truncate()
            self._file.write(bytes(2 * _BLOCK))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _drop_later(self) -> None:
        """Of a shard that was begun behind the last row nothing has a row."""
        for path in self._folder.glob(f"{self._prefix}*.tar"):
            match = _NAME.fullmatch(path.name)
            if match and match["stem"] == self._prefix and int(match["number"]) > self._number:
                path.unlink()
        if self._path.exists() and self._end == 0:
            self._path.unlink()


def key_of(output: str) -> str:
    """The sample's key: the output without its suffix. WebDataset cuts at the first dot, so that others are coded."""
    place = PurePosixPath(output)
    stem = place.stem.replace("%", "%25").replace(".", "%2E")
    return str(place.with_name(stem))


def read_sample(folder: Path, row: Mapping[str, Any]) -> bytes:
    """The latents file of a row that is in a shard. Raises OSError."""
    with (folder / row["shard"]).open("rb") as file:
        file.seek(row["shard_offset"])
        data: bytes = file.read(row["output_bytes"])
    return data


def is_in_shard(folder: Path, row: Mapping[str, Any]) -> bool:
    """Whether the shard that a row names is there and reaches that far."""
    name, end = row.get("shard"), shard_end(row)[1]
    try:
        return isinstance(name, str) and (folder / name).stat().st_size >= end
    except OSError:
        return False


def _header(name: str, size: int) -> bytes:
    """A member's header, the same in every run."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def open_sample(folder: Path, row: Mapping[str, Any]) -> io.BytesIO:
    """A row's latents file, from its shard, to be read from memory."""
    return io.BytesIO(read_sample(folder, row))
