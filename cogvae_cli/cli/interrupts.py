"""SIGINT and SIGTERM as exceptions of the main thread, so that what they end is cleaned up; none goes unheard."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM came; no `except Exception` on the way may hold it up."""


_heard: BaseException | None = None


@contextmanager
def signals_raise() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, SIGTERM Terminated. A second SIGTERM is ignored."""
    global _heard  # noqa: PLW0603 - a process has one main thread, and signals are its own
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def stop(number: int, frame: FrameType | None) -> None:
        global _heard  # noqa: PLW0603
        if number == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _heard = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        raise _heard

    _heard = None
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a shell's background job is not for Ctrl-C
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_unheard() -> None:
    """Raises again what was raised where Python drops exceptions, as in the callback that JAX has for its collector."""
    if _heard is not None and threading.current_thread() is threading.main_thread():
        raise _heard
