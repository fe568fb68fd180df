"""What a run tells while it goes on: a base class that says nothing; the command line has one that does."""

from __future__ import annotations

from collections.abc import Iterable


class Progress:
    """Listener of a run; every method may be left as it is. Called from the computing thread only."""

    def phase(self, name: str) -> None:
        """What happens now and may take long without a frame, like compiling."""

    def begin(self, total: int | None, unit: str = "frames") -> None:
        """Counting starts; `total` is a hint and None when unknown."""

    def advance(self, count: int) -> None:
        """That many more are done."""

    def notice(self, text: str) -> None:
        """One line that the user should know: a decision taken for them, or a limit."""

    def end(self) -> None:
        """Counting is over, by success or failure."""


class Notices:
    """Passes notices on, each of them once, and keeps them for the result."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.told: tuple[str, ...] = ()

    def tell(self, notices: Iterable[str]) -> None:
        """Takes all notices so far, old ones too."""
        for notice in notices:
            if notice not in self.told:
                self.told += (notice,)
                self.progress.notice(notice)
