"""Where the time of a run went, stage by stage, as seen by the thread that computes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Adds up seconds by the name of a stage. Stages don't nest, so their sum is the time that was spent in all."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def copy(self) -> Stopwatch:
        """One that goes on from what was spent so far."""
        other = Stopwatch()
        other.seconds = dict(self.seconds)
        return other

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def waiting(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items; the time until each of them is there counts."""
        source = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(source)
            except StopIteration:
                return
            finally:
                self.add(name, time.perf_counter() - start)
            yield item

    def stages(self, total: float, other: str = "other") -> dict[str, float]:
        """Seconds of each stage, and what is left of the total, rounded to milliseconds."""
        rest = total - sum(self.seconds.values())
        return {name: round(value, 3) for name, value in (*self.seconds.items(), (other, max(rest, 0.0)))}
