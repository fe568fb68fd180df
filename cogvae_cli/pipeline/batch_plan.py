"""The clips of a batch, listed once, before the first frame: what each output is called, and that no two collide.

The list waits in a file without a name; in memory a clip takes 8 bytes.
"""

from __future__ import annotations

import array
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from cogvae_cli.errors import UsageError
from cogvae_cli.io.listing import FOREIGN_LATENTS, LATENTS, VIDEOS, Listed
from cogvae_cli.io.manifest import row_hash
from cogvae_cli.io.pictures import SUFFIXES as PICTURES

_SUFFIXES = {*VIDEOS, *LATENTS, *FOREIGN_LATENTS, *PICTURES}


@dataclass(frozen=True)
class Clip:
    """One clip on its way."""

    source: str
    """An absolute path."""
    relative: str
    """Its place in the input tree."""
    output: str
    """Its place below the output folder."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Carried from the table that names it into the manifest."""
    mirrored: bool = False
    """Whether it is the mirror image of its source."""


@dataclass(frozen=True)
class Shard:
    """One of several parts that a batch is split into, by the hash of each clip's relative path."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`0/4` is the first of four. Raises UsageError."""
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise UsageError(f"{text!r} is no shard", "give I/N with I from 0 to N-1: 0/4 is the first of four")
        return cls(int(index), int(count))

    def has(self, clip: Clip) -> bool:
        """Whether the clip is in this part. The same on every machine."""
        return row_hash(clip.relative) % self.count == self.index


class Plan:
    """All clips of a job, in order. A context manager, and an iterable: one iteration at a time.

    Raises UsageError where two clips would become the same output, or an output is its own source.
    """

    def __init__(
        self, clips: Iterable[Listed], out: Path, suffix: str, shard: Shard | None = None, *, flip: bool = False
    ) -> None:
        """`flip` gives each clip a second output, of its mirror image."""
        self._hashes = array.array("Q")
        self.count = 0
        """Clips of this shard."""
        with ExitStack() as stack:
            self._file = stack.enter_context(tempfile.TemporaryFile())
            for listed in clips:
                for mirrored in (False, True):
                    if mirrored == listed.mirrored or (listed.mirrored is None and (flip or not mirrored)):
                        self._add(_named(listed, suffix, mirrored=mirrored), out, shard)
            self._file.flush()
            self._check_collisions(out)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[Clip]:
        return (clip for clip, is_ours in self._all() if is_ours)

    def _add(self, clip: Clip, out: Path, shard: Shard | None) -> None:
        if clip.source.startswith(f"{out}/") and clip.source == f"{out}/{clip.output}":
            raise UsageError(f"{clip.source}: is an input and can't be the output too", "name another --out-dir")
        is_ours = shard is None or shard.has(clip)
        self.count += is_ours
        self._hashes.append(row_hash(clip.output))
        values = [clip.source, clip.relative, clip.output, dict(clip.columns), clip.mirrored, is_ours]
        self._file.write(json.dumps(values).encode("ascii") + b"\n")

    def _all(self) -> Iterator[tuple[Clip, bool]]:
        self._file.seek(0)
        for line in self._file:
            *values, is_ours = json.loads(line)
            yield Clip(*values), is_ours

    def _check_collisions(self, out: Path) -> None:
        """Clips of all shards are compared, for two of them may write side by side."""
        hashes = np.sort(np.frombuffer(self._hashes, np.uint64)) if self._hashes else np.zeros(0, np.uint64)
        suspects = {int(one) for one in hashes[1:][hashes[1:] == hashes[:-1]]}
        self._hashes = array.array("Q")
        seen: dict[str, str] = {}
        for clip, _ in self._all() if suspects else ():
            if row_hash(clip.output) not in suspects:
                continue
            if clip.output not in seen:
                seen[clip.output] = clip.source
            elif seen[clip.output] == clip.source:
                raise UsageError(f"{clip.source} is named twice", "name every clip once")
            else:
                raise UsageError(
                    f"{seen[clip.output]} and {clip.source} would both become {out / clip.output}",
                    "rename one of them, or give them folders of their own with two --out-dir",
                )


def window_name(output: str, start: int) -> str:
    """Of the clip that starts with that frame: `a/b.npz` becomes `a/b-000049.npz`."""
    stem, suffix = os.path.splitext(output)  # noqa: PTH122 - a Path for each of millions is slow
    return f"{stem}-{start:06}{suffix}"


def _named(listed: Listed, suffix: str, *, mirrored: bool) -> Clip:
    """Only a suffix that says what a file is gives way: `shot.01`, a folder of pictures, becomes `shot.01.npz`."""
    place = os.path.normpath(listed.relative)
    stem, ending = os.path.splitext(place)  # noqa: PTH122 - a Path for each of millions is slow
    stem = stem if ending.lower() in _SUFFIXES else place
    output = f"{stem}{'-flip' if mirrored else ''}{suffix}"
    return Clip(listed.source, place, output, listed.columns, mirrored)
