"""Clips of one shape that are encoded together: each is read and stored by a thread of its own, and they meet here.

A group goes from chunk to chunk in step. Who has ended, or never came, has an empty place in it, so that one program
serves all groups of a shape; no clip's values depend on who else is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from cogvae_cli.pipeline.progress import Progress

if TYPE_CHECKING:
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.model.vae import Caches, EncodedChunk

WAITING = "waiting for the device"
"""The phase of a clip that waits for others: however long, it doesn't hang."""

_PATIENCE = 10.0  # seconds that a group waits for a clip that is being read, and might join


class Together:
    """Where the clips of one process meet. One group computes at a time."""

    def __init__(self, size: int) -> None:
        """`size`: clips of a group, at most."""
        self.size = size
        self._changed = threading.Condition()
        self._active = 0
        self._open: dict[Hashable, _Group] = {}
        self._running: _Group | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """As long as a clip is worked on: groups may wait for it."""
        with self._changed:
            self._active += 1
        try:
            yield
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    @contextmanager
    def join(self, vae: VAE, shape: tuple[int, ...], progress: Progress) -> Iterator[Member]:
        """A place in a group of clips whose first chunk has that shape, once its turn has come."""
        begun = time.monotonic()
        progress.phase(WAITING)
        key = (vae.form, shape)
        with self._changed:
            group = self._open.setdefault(key, _Group(vae, self.size, self._changed))
            member = Member(group, group.enter(), progress)
            if group.members == self.size:
                del self._open[key]
            self._changed.notify_all()
            while self._running is not group:
                if self._may_start(key, group):
                    self._open.pop(key, None)
                    self._running = group
                    self._changed.notify_all()
                else:
                    self._changed.wait(1.0)
        member.waited = time.monotonic() - begun
        progress.phase("computing")
        try:
            yield member
        finally:
            with self._changed:
                if group.leave(member.place) == 0:
                    self._running = None
                self._changed.notify_all()

    def _may_start(self, key: Hashable, group: _Group) -> bool:
        """The device is free, and the group is full, or nobody else can come, or it has waited for long."""
        if self._running is not None:
            return False
        waiting = sum(one.members for one in self._open.values())
        is_last = group.members == self.size or waiting >= self._active
        return is_last or time.monotonic() - group.opened > _PATIENCE


class Member:
    """A clip's place in a group."""

    def __init__(self, group: _Group, place: int, progress: Progress) -> None:
        self._group, self.place, self._progress = group, place, progress
        self.waited = 0.0
        """Seconds until it was the group's turn."""

    def encode(self, frames: np.ndarray) -> EncodedChunk:
        """As `VAE.encode_chunk`, of the next chunk of this clip, [T H W 3]; waits for the others' next ones."""
        return self._group.encode(self.place, frames, self._progress)


class _Group:
    """Guarded by the condition of its `Together`."""

    def __init__(self, vae: VAE, size: int, changed: threading.Condition) -> None:
        self._vae, self._size, self._changed = vae, size, changed
        self.opened = time.monotonic()
        self.members = 0
        self._there: set[int] = set()
        self._chunks: dict[int, np.ndarray] = {}
        self._results: dict[int, Any] = {}
        self._caches: Caches = None
        self._is_busy = False

    def enter(self) -> int:
        place = self.members
        self.members += 1
        self._there.add(place)
        return place

    def leave(self, place: int) -> int:
        """How many are left."""
        self._there.discard(place)
        self._chunks.pop(place, None)
        self._results.pop(place, None)
        if not self._there:
            self._caches = None
        return len(self._there)

    def encode(self, place: int, frames: np.ndarray, progress: Progress) -> EncodedChunk:
        with self._changed:
            self._chunks[place] = frames
            self._changed.notify_all()
            if not self._is_due:
                progress.phase(WAITING)
                self._changed.wait_for(lambda: place in self._results or self._is_due)
                progress.phase("computing")
            if place in self._results:
                return self._taken(place)
            chunks, self._chunks, self._is_busy = self._chunks, {}, True
        try:
            results = self._compute(chunks)
        except BaseException as error:  # noqa: BLE001 - it is raised again, in every thread that waits
            results = dict.fromkeys(chunks, error)
        with self._changed:
            self._is_busy = False
            self._results |= {one: found for one, found in results.items() if one in self._there}
            self._changed.notify_all()
            return self._taken(place)

    @property
    def _is_due(self) -> bool:
        """Whether all that are there have brought their chunks, and have taken what became of the ones before."""
        return not self._is_busy and not self._results and self._there <= self._chunks.keys()

    def _taken(self, place: int) -> EncodedChunk:
        found = self._results.pop(place)
        self._changed.notify_all()
        if isinstance(found, BaseException):
            raise found
        result: EncodedChunk = found
        return result

    def _compute(self, chunks: dict[int, np.ndarray]) -> dict[int, Any]:
        shape = next(iter(chunks.values())).shape
        batch = np.zeros((self._size, *shape), np.uint8)
        for place, frames in chunks.items():
            batch[place] = frames
        encoded, self._caches = self._vae.encode_chunk(batch, self._caches)
        return {place: type(encoded)(*(part[place : place + 1] for part in encoded)) for place in chunks}
