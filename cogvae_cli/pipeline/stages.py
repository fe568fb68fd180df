"""The two stages beside the computation: reading ahead of it and writing behind it, each in one thread.

Both are bounded, so memory doesn't grow with length. An error in a stage reaches the computing thread as itself;
an error or Ctrl-C there closes both stages, and no thread outlives its stage.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

DEPTH = 1
"""Items that wait between two stages; each stage holds one more in its hands."""


class _ClosedError(Exception):
    """The channel takes and gives no more."""


class _Channel(Generic[Item]):
    """A bounded queue between two threads that either side can close.

    `close` drops what waits and wakes both sides; `end` lets the receiver take what waits first.
    """

    def __init__(self, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"a channel holds at least one item, got {depth}")
        self._depth = depth
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False

    def put(self, item: Item) -> None:
        """Waits for room. Raises _ClosedError once the channel is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if self._closed:
                raise _ClosedError
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> Item:
        """Waits for an item. Raises _ClosedError when closed, or ended and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._ended or bool(self._items))
            if self._closed or not self._items:
                raise _ClosedError
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


class Prefetch(Generic[Item]):
    """Iterates over `items` in a thread of its own, at most `depth` + 1 items ahead of the consumer.

    An iterator and a context manager. The producer's exception is raised by `next` after the items before it.
    `close` stops and joins the thread; it waits for at most the item in the making.
    """

    def __init__(self, items: Iterable[Item], *, depth: int = DEPTH, name: str = "cogvae-read") -> None:
        self._channel: _Channel[Item] = _Channel(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(items,), name=name, daemon=True)
        self._thread.start()

    def _run(self, items: Iterable[Item]) -> None:
        try:
            for item in items:
                self._channel.put(item)
        except _ClosedError:
            return
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the consumer's to see
            self._error = error
        finally:
            self._channel.end()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        try:
            return self._channel.get()
        except _ClosedError:
            pass
        self._thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        raise StopIteration

    def close(self) -> None:
        self._channel.close()
        self._thread.join()

    def __enter__(self) -> Prefetch[Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class WriteBehind(Generic[Item]):
    """Hands items to `write` in a thread of its own, in order, at most `depth` + 1 behind the producer.

    As a context manager it finishes on a clean exit and cancels on an exception. The writer's exception is raised by
    the next `put`, or by `finish`.
    """

    def __init__(self, write: Callable[[Item], None], *, depth: int = DEPTH, name: str = "cogvae-write") -> None:
        self._channel: _Channel[Item] = _Channel(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(write,), name=name, daemon=True)
        self._thread.start()

    def _run(self, write: Callable[[Item], None]) -> None:
        try:
            while True:
                write(self._channel.get())
        except _ClosedError:
            return
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the producer's to see
            self._error = error
            self._channel.close()

    def put(self, item: Item) -> None:
        """Waits for room. Raises the writer's exception, or RuntimeError after `finish` or `cancel`."""
        try:
            self._channel.put(item)
        except _ClosedError:
            self._thread.join()
            self._raise()
            raise RuntimeError("nothing can be put after the end") from None

    def finish(self) -> None:
        """Waits until all is written. Raises the writer's exception."""
        self._channel.end()
        self._thread.join()
        self._channel.close()
        self._raise()

    def cancel(self) -> None:
        """Drops what waits and joins the thread once the write in progress is done. Raises nothing."""
        self._channel.close()
        self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> WriteBehind[Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.cancel()
