"""Clips that run side by side take turns at the device: each is read ahead of its turn and stored after it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.together import Together

Item = TypeVar("Item")

Turn = AbstractContextManager[object]
"""Held while a clip has chunks for the device; a lock, where clips share one."""


@dataclass(frozen=True)
class Surroundings:
    """What is around a clip that is encoded or decoded."""

    progress: Progress = field(default_factory=Progress)
    turn: Turn = field(default_factory=nullcontext)
    together: Together | None = None
    """Where it meets others that are encoded with it, in the place of the turn."""
    lasting: bool = True
    """Whether its output's name has to outlive a crash of the machine: not where somebody moves the file on."""


def in_turn(items: Iterator[Item], turn: Turn) -> Generator[Item]:
    """Waits for the turn once the first item is there, and gives it up when the last one was taken, or when closed.

    So the device waits for no file to be opened, and a clip that is read slowly lets others go first.
    """
    for first in items:
        with turn:
            yield first
            yield from items
