"""What a batch tells while it goes on: a base class that says nothing; the command line has one that does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class BatchProgress:
    """Listener of a batch; every method may be left as it is. Called from the supervising thread only."""

    def phase(self, name: str) -> None:
        """What happens now and may take long without a clip."""

    def begin(self, total: int) -> None:
        """All clips are listed."""

    def grow(self, count: int) -> None:
        """There are so many clips more: a video was cut into several."""

    def clip(self, name: str, done: int, total: int | None) -> None:
        """Frames of a clip that are done; `total` is None where it isn't known."""

    def row(self, row: Mapping[str, Any]) -> None:
        """A clip is over: the row that the manifest has of it. Its `status` is done, skipped or failed."""

    def notice(self, text: str) -> None:
        """One line that the user should know."""

    def end(self) -> None:
        """It is over, by success or failure."""
