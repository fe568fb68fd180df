"""The latents file, version 1: written as a stream, read without trusting it. docs/latents-format.md specifies it."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self

import numpy as np

from cogvae_cli.errors import LatentsError
from cogvae_cli.io.file_kinds import LONGEST as HEAD
from cogvae_cli.io.file_kinds import kind_of
from cogvae_cli.io.json_fields import MalformedError
from cogvae_cli.io.latents_header import LONGEST, MEMBERS, ArrayFacts, LatentsHeader
from cogvae_cli.io.latents_header_json import header_text, parse_header
from cogvae_cli.io.npz import HEADER, locate_npz, write_npz
from cogvae_cli.io.safetensors_file import read_layout, write_safetensors
from cogvae_cli.io.stored_array import STORED, Spool, StoredArray, digest, read_rows, to_stored

KINDS = ("npz", "safetensors")

HEADER_SHA256 = "header_sha256"
"""Where safetensors holds the hash of the header's text, which no check sum of its own protects."""

_spool: Callable[..., AbstractContextManager[IO[bytes]]] = functools.partial(tempfile.SpooledTemporaryFile, 1 << 20)
"""A file for what waits; its first MiB is in memory."""

Shape = tuple[int, int, int, int]
"""[T H W C] of every array in a file."""

_ROWS = 8  # latent frames that read_latents reads at a time


@dataclass(frozen=True)
class LatentsFile:
    """A latents file read as a whole: float32 arrays [T H W C] by name, exactly as stored."""

    header: LatentsHeader
    arrays: dict[str, np.ndarray]
    sha256: str
    """sha256 of the one array's bytes; of moments, sha256 of the two hex digests joined (mean, logvar)."""


class LatentsWriter:
    """Writes a latents file whose length isn't known before its end; memory doesn't grow with it.

    Values wait in an unlinked file in the output's folder, or in memory as long as they are few. `finish` writes the
    container; without it nothing is written. The same values and header give the same bytes.
    Errors: OutputError for a value that the dtype can't hold, NonFiniteError for NaN or Inf, OSError from the disk.
    """

    def __init__(self, path: Path, kind: str, dtype: str, members: tuple[str, ...]) -> None:
        if kind not in KINDS or dtype not in STORED or members not in MEMBERS.values():
            raise ValueError(f"no latents file has kind {kind!r}, dtype {dtype!r} and members {members}")
        self._path, self._kind, self._dtype, self._members = path, kind, dtype, members
        self._rows = 0
        self._row_shape: tuple[int, ...] | None = None
        self._hashes = {name: hashlib.sha256() for name in members}
        with ExitStack() as stack:  # closes the first spool if the second can't be made
            self._spools: dict[str, IO[bytes]] = {
                name: stack.enter_context(_spool(dir=path.parent)) for name in members
            }
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def length(self) -> int:
        """Latent frames appended so far."""
        return self._rows

    def append(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds latent frames [t h w C], of one shape for every member, rounded to the dtype of storage."""
        shapes = {np.shape(values) for values in arrays.values()}
        if set(arrays) != set(self._members) or len(shapes) != 1:
            raise ValueError(f"got arrays {sorted(arrays)} of shapes {shapes}; expected {self._members} of one shape")
        (shape,) = shapes
        if len(shape) != 4 or self._row_shape not in (None, shape[1:]):
            raise ValueError(f"got latent frames of shape {shape} after ones of {self._row_shape}")
        stored = {name: to_stored(arrays[name], self._dtype) for name in self._members}
        for name, values in stored.items():
            data = values.data.cast("B") if values.size else b""
            self._spools[name].write(data)
            self._hashes[name].update(data)
        self._row_shape, self._rows = shape[1:], self._rows + shape[0]

    def finish(self, header: LatentsHeader) -> dict[str, ArrayFacts]:
        """Writes the container to the path; gives the shape and hash of each array.

        Raises LatentsError for a header that contradicts the arrays or can't be stored.
        """
        if header.dtype != self._dtype or MEMBERS.get(header.posterior) != self._members:
            raise ValueError(f"the header says {header.dtype} and {header.posterior}, the writer was made otherwise")
        height, width, channels = self._row_shape or (0, 0, 0)
        shape = (self._rows, height, width, channels)
        facts = {name: ArrayFacts(shape, self._hashes[name].hexdigest()) for name in self._members}
        text = header_text(header, facts)
        spools = {name: Spool(self._spools[name], shape, STORED[self._dtype]) for name in self._members}
        with self._path.open("wb") as file:
            if self._kind == "npz":
                write_npz(file, text, spools)
            else:
                write_safetensors(file, {HEADER: text, HEADER_SHA256: _sha256_text(text)}, spools)
        return facts


class LatentsReader:
    """A latents file opened to be read by chunks: checked as a whole, by a first pass over its bytes, when it is made.

    Errors: LatentsError, one line, for whatever is wrong with the file.
    """

    def __init__(self, path: Path, file: BinaryIO | None = None) -> None:
        """`file` is closed at the end; without it, `path` is opened, which errors name in any case."""
        with ExitStack() as stack:
            self._file = stack.enter_context(_open(path) if file is None else file)
            self._path = path
            self.header, facts, self._arrays = _locate(path, self._file)
            for name, array in self._arrays.items():
                if _checked_digest(path, self._file, array) != facts[name].sha256:
                    raise LatentsError(f"{path} is damaged: the sha256 of {name!r} isn't the one in its header")
            self.sha256 = combined_sha256(facts)
            self.shape: Shape = facts[MEMBERS[self.header.posterior][0]].shape
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def length(self) -> int:
        """Latent frames in the file."""
        return self.shape[0]

    def chunks(self, sizes: Iterable[int]) -> Iterator[dict[str, np.ndarray]]:
        """Yields that many latent frames after one another, float32 [t h w C] by name.

        Raises ValueError where the sizes run past the end, LatentsError where a value is NaN or Inf.
        """
        start = 0
        for size in sizes:
            if size < 1 or start + size > self.length:
                raise ValueError(f"latent frames {start} to {start + size} of {self.length} were asked for")
            yield {name: self._rows(name, array, start, size) for name, array in self._arrays.items()}
            start += size

    def _rows(self, name: str, array: StoredArray, start: int, count: int) -> np.ndarray:
        try:
            rows = read_rows(self._file, array, start, count)
        except (MalformedError, OSError) as error:
            raise LatentsError(f"{self._path} changed while it was read: {error}") from error
        finite = np.isfinite(rows).all(axis=(1, 2, 3))
        if not finite.all():
            frame = start + int(np.argmin(finite))
            raise LatentsError(f"{self._path} holds NaN or Inf in {name!r}, first in latent frame {frame}")
        return rows


def open_latents(path: Path) -> LatentsReader:
    """Opens a latents file to be read by chunks; use it as a context manager."""
    return LatentsReader(path)


def read_latents(path: Path, file: BinaryIO | None = None) -> LatentsFile:
    """Reads a latents file as a whole; from `file`, where that is given."""
    with LatentsReader(path, file) as reader:
        arrays = {name: np.empty(reader.shape, np.float32) for name in MEMBERS[reader.header.posterior]}
        start = 0
        sizes = (min(_ROWS, reader.length - first) for first in range(0, reader.length, _ROWS))
        for chunk in reader.chunks(sizes):
            count = len(next(iter(chunk.values())))
            for name, rows in chunk.items():
                arrays[name][start : start + count] = rows
            start += count
        return LatentsFile(reader.header, arrays, reader.sha256)


def read_header(path: Path) -> tuple[LatentsHeader, Shape]:
    """The header and the arrays' shape [T H W C]: all checks but those that read the values."""
    with _open(path) as file:
        header, facts, _ = _locate(path, file)
    return header, facts[MEMBERS[header.posterior][0]].shape


def combined_sha256(facts: Mapping[str, ArrayFacts]) -> str:
    """One hash for the values of a file: the array's own, or that of the hex digests of mean and logvar joined."""
    digests = [facts[name].sha256 for members in MEMBERS.values() if set(members) == set(facts) for name in members]
    if len(facts) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode("ascii")).hexdigest()


def _open(path: Path) -> BinaryIO:
    try:
        if not path.is_file():
            raise LatentsError(f"{path} is {'no file' if path.exists() else 'not there'}", "give a latents file")
        return path.open("rb")
    except OSError as error:
        raise LatentsError(f"{path} can't be read: {os.strerror(error.errno or 0)}") from error


def _locate(path: Path, file: BinaryIO) -> tuple[LatentsHeader, dict[str, ArrayFacts], dict[str, StoredArray]]:
    """Header, facts and places of the arrays, all in agreement."""
    try:
        text, arrays = _container(file)
        header, facts = parse_header(text)
        if set(arrays) != set(facts):
            raise MalformedError(f"holds {', '.join(sorted(arrays))}, but its header names {', '.join(sorted(facts))}")
        for name, array in arrays.items():
            if array.shape != facts[name].shape or array.stored != STORED[header.dtype]:
                raise MalformedError(
                    f"holds {name!r} as {array.stored} {list(array.shape)}, "
                    f"but its header says {header.dtype} {list(facts[name].shape)}"
                )
    except MalformedError as error:
        raise LatentsError(f"{path}: {error}") from error
    except OSError as error:
        raise LatentsError(f"{path} can't be read: {os.strerror(error.errno or 0)}") from error
    return header, facts, arrays


def _container(file: BinaryIO) -> tuple[str, dict[str, StoredArray]]:
    """The header's text and the arrays' places, by what the file's first bytes say it is."""
    head = file.read(HEAD)
    if head.startswith(b"PK"):
        return locate_npz(file)
    kind = kind_of(head)
    if kind:
        raise MalformedError(f"is no latents file; it is {kind}")
    layout = read_layout(file, 2 * LONGEST + 2**16)  # every quote of the text is escaped
    if HEADER not in layout.metadata:
        raise MalformedError("has no 'header' in its metadata: safetensors, but not a latents file of cogvae")
    text = layout.metadata[HEADER]
    if layout.metadata.get(HEADER_SHA256) != _sha256_text(text):
        raise MalformedError(f"is damaged: the sha256 of its header isn't the {HEADER_SHA256!r} in its metadata")
    return text, dict(layout.tensors)


def _sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _checked_digest(path: Path, file: BinaryIO, array: StoredArray) -> str:
    try:
        return digest(file, array)
    except MalformedError as error:
        raise LatentsError(f"{path} {error}") from error
    except OSError as error:
        raise LatentsError(f"{path} can't be read: {os.strerror(error.errno or 0)}") from error
