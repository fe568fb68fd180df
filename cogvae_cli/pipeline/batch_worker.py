"""The process of a batch that owns the device: it takes tasks from the supervisor and tells it what becomes of them.

A few clips are worked on at a time, each in a thread: one computes, the next ones are read and decoded meanwhile, and
the one before is stored. It dies with its supervisor, and when its supervisor closes the connection.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing.connection import Connection
from types import TracebackType

from cogvae_cli.errors import CogvaeError
from cogvae_cli.pipeline.batch_clips import ClipMaker, maker_for
from cogvae_cli.pipeline.batch_messages import (
    WAITING,
    Advanced,
    Beat,
    Broken,
    Failed,
    FromWorker,
    Job,
    Made,
    Noticed,
    Part,
    Phase,
    Ready,
    Task,
)
from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.together import Together
from cogvae_cli.pipeline.turns import Surroundings

BEAT_SECONDS = 1.0

_LONGEST_TRACE = 8192  # characters: a message fits into one write


def main(descriptor: int) -> None:
    """Works until the supervisor closes the connection that `descriptor` is one end of."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor says when it is over
    connection = Connection(descriptor)
    send = _Sender(connection)
    job: Job = connection.recv()
    threading.Thread(target=_beat, args=(send,), name="cogvae-beat", daemon=True).start()
    try:
        maker = maker_for(job, _Reporter(send, None))
    except CogvaeError as error:
        send(Broken(error))
        return
    send(Ready())
    together = Together(job.batch_size) if job.batch_size > 1 else None
    tasks = iter(functools.partial(_next, connection), None)
    work(maker, tasks, send, threads=job.threads, together=together)


def work(
    maker: ClipMaker,
    tasks: Iterable[Task],
    send: Callable[[FromWorker], None],
    *,
    threads: int,
    together: Together | None = None,
) -> None:
    """Makes clips, as many at a time as there are threads; one of them computes, or some together.

    Returns when all are over.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="cogvae-clip") as pool:
        turn = threading.Lock()
        for task in tasks:
            reporter = _Reporter(send, task.number)
            pool.submit(
                _work, maker, task, Surroundings(reporter, DeviceTurn(turn, reporter), together, lasting=False), send
            )


def _next(connection: Connection) -> Task | None:
    try:
        task: Task = connection.recv()
    except EOFError:
        return None
    return task


def _work(maker: ClipMaker, task: Task, around: Surroundings, send: Callable[[FromWorker], None]) -> None:
    """Makes one clip. Whatever goes wrong is told, and belongs to this clip."""
    with nullcontext() if around.together is None else around.together.active():
        _make(maker, task, around, send)


def _make(maker: ClipMaker, task: Task, around: Surroundings, send: Callable[[FromWorker], None]) -> None:
    try:
        for path, facts, is_last in maker.make(task, around):
            if isinstance(around.turn, DeviceTurn):
                facts["seconds"] = round(facts["seconds"] - around.turn.waited, 3)
            send((Made if is_last else Part)(task.number, path, facts))
    except (CogvaeError, OSError, MemoryError) as error:
        send(_failure(task, error, unexpected=False))
    except Exception as error:  # noqa: BLE001 - a thread's boundary: the supervisor decides what it means
        send(_failure(task, error, unexpected=_is_of_device(error)))


def _is_of_device(error: Exception) -> bool:
    """Whether the device or its driver may be unsound now, so that other clips would fail in this process too."""
    import jax

    return isinstance(error, jax.errors.JaxRuntimeError)


def _failure(task: Task, error: Exception, *, unexpected: bool) -> Failed:
    name, text = type(error).__name__, str(error)
    message, hint = (error.message, error.hint) if isinstance(error, CogvaeError) else (f"{name}: {text}", None)
    if isinstance(error, OSError) and not isinstance(error, CogvaeError):
        message = f"the system refuses: {text}"
    if isinstance(error, MemoryError):
        message = "out of memory"
    trace = "".join(traceback.format_exception(error))
    return Failed(task.number, name, message, hint, unexpected, trace[-_LONGEST_TRACE:])


class _Sender:
    """Sends from several threads. Once the supervisor has gone, nobody wants to know, and this process ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def __call__(self, message: FromWorker) -> None:
        with self._lock:
            try:
                self._connection.send(message)
            except OSError:
                os._exit(1)


def _beat(send: _Sender) -> None:
    rest = threading.Event()
    while not rest.wait(BEAT_SECONDS):
        send(Beat())


class DeviceTurn:
    """The lock of the device, and word of the waiting for it."""

    def __init__(self, lock: threading.Lock, progress: Progress) -> None:
        self._lock, self._progress = lock, progress
        self.waited = 0.0
        """Seconds."""

    def __enter__(self) -> None:
        self._progress.phase(WAITING)
        start = time.monotonic()
        self._lock.acquire()
        self.waited = time.monotonic() - start
        self._progress.phase("computing")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


class _Reporter(Progress):
    """Passes on what a clip says of itself."""

    def __init__(self, send: Callable[[FromWorker], None], number: int | None) -> None:
        self._send, self._number = send, number
        self._done = 0
        self._total: int | None = None

    def phase(self, name: str) -> None:
        if self._number is not None:
            self._send(Phase(self._number, name))

    def begin(self, total: int | None, unit: str = "frames") -> None:
        self._total = total

    def advance(self, count: int) -> None:
        self._done += count
        if self._number is not None:
            self._send(Advanced(self._number, self._done, self._total))

    def notice(self, text: str) -> None:
        self._send(Noticed(self._number, text))
