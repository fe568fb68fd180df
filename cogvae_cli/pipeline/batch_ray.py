"""A batch on a Ray cluster: its clips as calls of actors, one on each slot of the cluster's devices.

Ray places the actors, restarts those that die, elsewhere if their node is gone, and carries the outputs to this
process, which records them just as without Ray. This process never touches a device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cogvae_cli import __version__
from cogvae_cli.errors import CogvaeError
from cogvae_cli.pipeline.batch_crew import RETRIES
from cogvae_cli.pipeline.batch_messages import Broken, Event, Failed, Job, Made, Noticed, Part, Task
from cogvae_cli.pipeline.batch_options import RayOptions
from cogvae_cli.pipeline.batch_ray_actor import ClipActor, Outcome
from cogvae_cli.pipeline.batch_ray_address import reach
from cogvae_cli.pipeline.batch_ray_slots import Slots, slots_of

_GROWTH = 10.0  # seconds between two looks at how large the cluster is
_WAITING = 60.0  # seconds without an actor after which that is told
_FAREWELL = 5.0  # seconds that actors get to end their workers
_PINGED = 30.0  # seconds between two signs of life

_HINT = "every node needs the same cogvae: install it in the image, or with a runtime environment"


@dataclass
class _Flight:
    """A clip that an actor has, or is to have."""

    task: Task
    lost: int = 0
    """Actors that died while they had it."""


@dataclass
class _Seat:
    """An actor. Ray restarts it when it dies; what it had then is given to another one."""

    actor: Any
    greeting: Any
    """The call that is answered once it is up; None while it is."""
    flights: dict[Any, tuple[Any, _Flight]] = field(default_factory=dict)
    """By the reference to the outcome: the one to the bytes, and the clip."""
    ping: Any = None
    pinged: float = 0.0
    has_been_up: bool = False

    @property
    def is_alone(self) -> bool:
        """Whether it has a clip that took actors along before, which has nobody beside it."""
        return any(flight.lost for _, flight in self.flights.values())

    def has_room(self, threads: int) -> bool:
        return self.greeting is None and not self.is_alone and len(self.flights) < threads


class RayCrew:
    """As `Crew`, on a cluster: keeps its actors busy with up to `job.threads` clips each. Starts with the first clip.

    Raises CogvaeError where the cluster can't be reached, has nothing to compute with, or can't start an actor.
    """

    def __init__(self, job: Job, options: RayOptions, *, timeout: float) -> None:
        self._job, self._options, self._timeout = job, options, timeout
        self._seats: list[_Seat] = []
        self._queue: deque[_Flight] = deque()
        self._stack = contextlib.ExitStack()
        self._slots: Slots | None = None
        self._grown = self._told = time.monotonic()
        self.restarts: list[str] = []
        """Why actors and workers were restarted, since the list was last emptied."""

    @property
    def has_room(self) -> bool:
        """Whether another clip can be submitted now."""
        if self._slots is None:
            return not self._queue
        return not self._queue and any(seat.has_room(self._job.threads) for seat in self._seats)

    @property
    def is_idle(self) -> bool:
        return not self._queue and not any(seat.flights for seat in self._seats)

    def submit(self, task: Task) -> None:
        """Gives a clip to the cluster; only where there is room."""
        if self._slots is None:
            self._start()
        self._queue.append(_Flight(task))
        self._place()

    def events(self, timeout: float) -> Iterator[Event]:
        """What happened, waiting for at most that many seconds. A clip is over with Made or Failed."""
        if self._slots is None:
            return
        yield from self._grow()
        for seat, ref in self._answered(timeout):
            if ref is seat.greeting:
                self._greet(seat)
            elif ref is seat.ping:
                self._hear(seat)
            elif ref in seat.flights:
                yield from self._land(seat, ref)
        self._look_after()
        self._place()

    def close(self) -> None:
        """Ends the actors, at once if they have clips; and Ray, if it was started for this batch."""
        import ray

        if self._slots is None:
            return
        farewells = [seat.actor.close.remote() for seat in self._seats if seat.greeting is None]
        if farewells:
            ray.wait(farewells, num_returns=len(farewells), timeout=_FAREWELL)
        for seat in self._seats:
            ray.kill(seat.actor)
        self._stack.close()

    def _start(self) -> None:
        self._stack.enter_context(_cluster(self._options))
        self._slots = slots_of(self._job.options.devices, self._options.workers)
        if not self._slots.count:
            raise CogvaeError(
                "the Ray cluster has no TPU, GPU or CPU for an actor",
                "--ray-workers N asks for actors that the cluster's autoscaler makes room for",
            )
        self._add_seats(self._slots)

    def _add_seats(self, slots: Slots) -> None:
        """As many actors as there are slots."""
        import ray

        kind = ray.remote(ClipActor)
        job = dataclasses.replace(self._job, model=_everywhere(self._job.model))
        while len(self._seats) < slots.count:
            actor = kind.options(**slots.needs, max_restarts=-1, max_concurrency=job.threads + 2).remote(
                job, self._timeout
            )
            self._seats.append(_Seat(actor, _greeting(actor)))

    def _grow(self) -> Iterator[Noticed]:
        """More actors on a cluster that has grown. Tells it where none is up for long."""
        now = time.monotonic()
        if now - self._grown > _GROWTH and self._slots is not None:
            self._grown = now
            self._add_seats(slots_of(self._job.options.devices, self._options.workers))
        if any(seat.greeting is None for seat in self._seats):
            self._told = now
        elif now - self._told > _WAITING:
            self._told = now
            needs = self._slots.text if self._slots is not None else ""
            yield Noticed(None, f"no actor is up yet; Ray looks for nodes that have room for {needs}")

    def _place(self) -> None:
        """Gives waiting clips to the actors that have least to do; one that took actors along waits for an idle one."""
        while self._queue:
            open_seats = [seat for seat in self._seats if seat.has_room(self._job.threads)]
            if not open_seats:
                return
            seat = min(open_seats, key=lambda one: len(one.flights))
            if self._queue[0].lost and seat.flights:
                return
            flight = self._queue.popleft()
            outcome, data = seat.actor.make.options(num_returns=2).remote(flight.task)
            seat.flights[outcome] = (data, flight)

    def _answered(self, timeout: float) -> list[tuple[_Seat, Any]]:
        """References that can be read now, and whose they are; waits for one at most so many seconds."""
        import ray

        owners: dict[Any, _Seat] = {}
        for seat in self._seats:
            owners |= {ref: seat for ref in (seat.greeting, seat.ping, *seat.flights) if ref is not None}
        refs = list(owners)
        if refs and ray.wait(refs, num_returns=1, timeout=timeout, fetch_local=False)[0]:
            done, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
            return [(owners[ref], ref) for ref in done]
        return []

    def _greet(self, seat: _Seat) -> None:
        """An actor is up, or can't ever be."""
        import ray

        try:
            version = ray.get(seat.greeting)
        except ray.exceptions.RayActorError as error:
            if not seat.has_been_up:
                raise CogvaeError(f"Ray can't start an actor: {_first_line(error)}", _HINT) from error
            seat.greeting = _greeting(seat.actor)
            return
        if version != __version__:
            raise CogvaeError(f"a node of the cluster has cogvae {version}, and this is {__version__}", _HINT)
        seat.greeting, seat.has_been_up, seat.pinged = None, True, time.monotonic()

    def _land(self, seat: _Seat, ref: Any) -> Iterator[Event]:
        """A clip is over, or its actor."""
        import ray

        data, flight = seat.flights.pop(ref)
        try:
            outcome: Outcome = ray.get(ref)
            files: list[bytes] = ray.get(data)
        except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
            yield from self._lost(seat, flight, error)
            return
        self.restarts.extend(outcome.restarts)
        yield from (Noticed(None, text) for text in outcome.notices)
        for event, content in itertools.zip_longest(outcome.events, files):
            if isinstance(event, Broken):
                raise event.error
            yield event if isinstance(event, Failed) else self._stored(event, content)

    def _stored(self, event: Made | Part, content: bytes) -> Made | Part:
        """The file in the work folder of this process."""
        if self._job.store is not None:
            return event
        path = self._job.work / event.path.name
        path.write_bytes(content)
        facts = {**event.facts, "output_mtime_ns": path.stat().st_mtime_ns}
        return dataclasses.replace(event, path=path, facts=facts)

    def _lost(self, seat: _Seat, flight: _Flight, error: Exception) -> Iterator[Failed]:
        """An actor died with a clip, which is tried again with nobody beside it, at most so often."""
        if seat.greeting is None:
            seat.greeting, seat.ping = _greeting(seat.actor), None
            self.restarts.append(f"an actor died ({_first_line(error)})")
        flight.lost += 1
        if flight.lost <= RETRIES:
            self._queue.append(flight)
            return
        source = flight.task.source
        message = f"{source}: {flight.lost} actors died while they had this clip, {RETRIES} of them with no other"
        yield Failed(
            flight.task.number, "WorkerCrash", message, "try it alone: cogvae encode or decode with -o", False, ""
        )

    def _look_after(self) -> None:
        """Asks actors that have clips for a sign of life, and has Ray restart those that give none."""
        import ray

        now = time.monotonic()
        for seat in self._seats:
            if seat.greeting is not None or not seat.flights:
                continue
            if seat.ping is None and now - seat.pinged > _PINGED:
                seat.ping, seat.pinged = seat.actor.ping.remote(), now
            elif seat.ping is not None and now - seat.pinged > self._timeout:
                ray.kill(seat.actor, no_restart=False)
                seat.ping, seat.pinged = None, now

    def _hear(self, seat: _Seat) -> None:
        seat.ping = None  # whatever it says: a call that failed shows in the clips


def _greeting(actor: Any) -> Any:
    """Answered once the actor is up, however often it has to be restarted before."""
    return actor.version.options(max_task_retries=-1).remote()


@contextlib.contextmanager
def _cluster(options: RayOptions) -> Iterator[None]:
    """Connected to the cluster; to the one that the caller is connected to already, if there is one."""
    import ray

    if ray.is_initialized():
        yield
        return
    with _own_signals():
        address = options.address or os.environ.get("RAY_ADDRESS")
        try:
            reach(address)
            ray.init(options.address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        except (OSError, RuntimeError, ValueError) as error:
            where = address or "this machine's"
            raise CogvaeError(
                f"the Ray cluster can't be reached ({where}): {_first_line(error)}",
                "give the address that `ray start` printed; --ray alone takes RAY_ADDRESS, or this machine by itself",
            ) from error
    try:
        yield
    finally:
        with _own_signals():
            ray.shutdown()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray sets handlers of its own; who called has some already, that say what is to be done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _everywhere(model: str | None) -> str | None:
    """A model that is a path here, as a path that doesn't depend on where an actor runs."""
    looks_local = model is not None and (model.startswith((".", "/", "~")) or model.endswith(".safetensors"))
    return str(Path(str(model)).expanduser().absolute()) if looks_local else model


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
