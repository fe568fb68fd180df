"""The worker that stays at work: restarted when it crashes or hangs, and no clip lost by that.

A crash may be the fault of any clip that the worker had. All of them are tried again, each alone in the worker, so that
the next crash has one clip to blame; after the second such crash that clip is given up.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from cogvae_cli.errors import CogvaeError
from cogvae_cli.pipeline.batch_messages import (
    WAITING,
    Advanced,
    Beat,
    Broken,
    Event,
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
from cogvae_cli.pipeline.batch_process import WorkerProcess

RETRIES = 2
"""Times that a clip is tried alone after a worker that had it crashed or hung."""

COMPILE_SECONDS = 3600.0
"""What compiling may take where that is more than the time-out: minutes, on a TPU."""

START_SECONDS = 300.0
"""What a worker may take until it says something, where that is more than the time-out: it imports JAX first."""

_STARTS = 2  # times in a row that a worker may die before it is ready
_DEAF = 5.0
"""Seconds without listening, as while a large file is hashed, after which a silence says nothing of the worker."""

_HINT = "try it alone: cogvae encode or decode with -o"


@dataclass
class _Flight:
    """A clip that the worker has, or is to have again."""

    task: Task
    retries: int = 0
    moved: float = field(default_factory=time.monotonic)
    phase: str = ""

    def is_overdue(self, now: float, timeout: float) -> bool:
        if self.phase == WAITING:
            return False
        limit = max(timeout, COMPILE_SECONDS) if self.phase.startswith("compiling") else timeout
        return now - self.moved > limit


class Crew:
    """Keeps one worker busy with up to `job.threads` clips; it starts with the first. Close it at the end.

    Raises what the worker says that makes the whole job impossible, and CogvaeError for one that dies at every start.
    """

    def __init__(self, job: Job, *, timeout: float) -> None:
        self._job, self._timeout = job, timeout
        self._flights: dict[int, _Flight] = {}
        self._again: deque[_Flight] = deque()
        self._dead_starts = 0
        self._listened = time.monotonic()
        self.restarts: list[str] = []
        """Why workers were restarted, since the list was last emptied."""
        self._worker: WorkerProcess | None = None
        """None until there is something to do."""
        self._is_up = False
        """Whether the worker has its model."""

    def _start(self) -> WorkerProcess:
        self._is_up = False
        self._worker = WorkerProcess(self._job, self._job.work / "worker.log")
        return self._worker

    @property
    def has_room(self) -> bool:
        """Whether another clip can be submitted now."""
        return not self._again and not self._is_alone and len(self._flights) < self._job.threads

    @property
    def is_idle(self) -> bool:
        return not self._flights and not self._again

    def submit(self, task: Task) -> None:
        """Gives the worker a clip; only where there is room."""
        self._send(_Flight(task))

    def events(self, timeout: float) -> Iterator[Event]:
        """What happened, waiting for at most that many seconds. A clip is over with Made or Failed."""
        worker = self._worker
        if worker is None:
            return
        if time.monotonic() - self._listened > _DEAF:
            self._start_clocks()
        messages = worker.messages(timeout)
        self._listened = time.monotonic()
        if messages is None:
            yield from self._crashed(worker.died())
            return
        for message in messages:
            yield from self._taken(message)
            if isinstance(message, Failed) and message.unexpected:
                return  # the worker was replaced, and its other words with it
        now = time.monotonic()
        patience = self._timeout if self._is_up else max(self._timeout, START_SECONDS)
        if now - worker.heard > patience:
            worker.kill()
            yield from self._crashed(f"gave no sign of life for {patience:g} s")
        elif self._is_up and any(flight.is_overdue(now, self._timeout) for flight in self._flights.values()):
            worker.kill()
            yield from self._crashed(f"made no progress for {self._timeout:g} s")
        elif not self._flights and self._again and self._is_up:
            self._retry()

    def _start_clocks(self) -> None:
        """Nothing that was heard before now, or wasn't, counts against the worker or its clips."""
        now = time.monotonic()
        for flight in self._flights.values():
            flight.moved = now
        if self._worker is not None:
            self._worker.heard = now

    def close(self) -> None:
        """Ends the worker: at once if it has clips."""
        if self._worker is not None and self._flights:
            self._worker.kill()
        elif self._worker is not None:
            self._worker.close()

    def kill(self) -> None:
        """Ends the worker at once, whatever it does."""
        if self._worker is not None:
            self._worker.kill()

    @property
    def _is_alone(self) -> bool:
        return any(flight.retries for flight in self._flights.values())

    def _send(self, flight: _Flight) -> None:
        flight.moved, flight.phase = time.monotonic(), ""
        self._flights[flight.task.number] = flight
        (self._worker or self._start()).submit(flight.task)

    def _retry(self) -> None:
        flight = self._again.popleft()
        flight.retries += 1
        self._send(flight)

    def _taken(self, message: FromWorker) -> Iterator[Event]:
        if isinstance(message, Ready):
            self._is_up, self._dead_starts = True, 0
            self._start_clocks()  # before, the worker was on its way up
        elif isinstance(message, Broken):
            raise message.error
        elif isinstance(message, Noticed):
            yield message
        elif not isinstance(message, Beat) and message.number in self._flights:
            if isinstance(message, Failed) and message.unexpected and self._worker is not None:
                self._worker.kill()
                yield from self._crashed(f"failed ({message.message})", message)
                return
            if isinstance(message, Made | Failed):
                del self._flights[message.number]
            else:
                self._note(self._flights[message.number], message)
            yield message

    def _note(self, flight: _Flight, message: Phase | Advanced | Part) -> None:
        flight.moved = time.monotonic()
        if isinstance(message, Phase):
            flight.phase = message.name

    def _crashed(self, how: str, failure: Failed | None = None) -> Iterator[Failed]:
        """Starts another worker. Clips that were tried alone often enough are over."""
        self.restarts.append(f"the worker {how}")
        if not self._is_up:
            self._dead_starts += 1
            if self._dead_starts >= _STARTS:
                raise CogvaeError(f"the process that computes {how} before it was ready", "run the command again")
        for flight in self._flights.values():
            if flight.retries < RETRIES:
                self._again.append(flight)
            elif failure is not None:
                yield failure
            else:
                source = flight.task.source
                message = f"{source}: the worker {how} on this clip, {RETRIES} times with no other beside it"
                yield Failed(flight.task.number, "WorkerCrash", message, _HINT, False, "")
        self._flights = {}
        self._start()
