"""What runs on a slot of a Ray cluster: a crew with a worker of its own, that makes clips and hands the files over.

The actor touches no device itself: its worker inherits what Ray reserved for the actor, and dies with it. So a clip
that crashes or hangs its worker is dealt with here, just as without Ray.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import tempfile
import threading
import time
import traceback
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cogvae_cli import __version__
from cogvae_cli.errors import CogvaeError
from cogvae_cli.io.outputs import atomic_folder, remove_leftovers
from cogvae_cli.pipeline.batch_crew import Crew
from cogvae_cli.pipeline.batch_messages import Broken, Failed, Job, Made, Noticed, Part, Task

_LISTENING = 0.05  # seconds that a new clip may wait for
_STOPPING = 2.0  # seconds


@dataclass(frozen=True)
class Outcome:
    """What became of a source, and what was told since the last one."""

    events: tuple[Part | Made | Failed | Broken, ...]
    """The last one ends it; the others are clips that it is cut into."""
    notices: tuple[str, ...]
    restarts: tuple[str, ...]
    """Why workers were restarted."""


class ClipActor:
    """Makes up to `job.threads` clips at a time; each call of `make` waits for its own."""

    def __init__(self, job: Job, timeout: float) -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(atomic_folder(_folder()))
        self._crew = Crew(dataclasses.replace(job, work=folder), timeout=timeout)
        self._inbox: queue.SimpleQueue[tuple[Task, Future[Outcome]]] = queue.SimpleQueue()
        self._waiting: dict[int, Future[Outcome]] = {}
        self._parts: dict[int, list[tuple[Part, bytes]]] = {}
        self._notices: list[str] = []
        self._is_stored = job.store is not None
        self._is_over = False
        self._pump = threading.Thread(target=self._work, name="cogvae-crew", daemon=True)
        self._pump.start()  # one thread for all its life: the worker dies with the thread that started it

    def version(self) -> str:
        """Of cogvae on this node."""
        return __version__

    def ping(self) -> None:
        """Returns at once."""

    def make(self, task: Task) -> tuple[Outcome, list[bytes]]:
        """One source: what became of it, and the bytes of the files that were made, of each event that has one."""
        future: Future[Outcome] = Future()
        self._inbox.put((task, future))
        outcome = future.result()
        parts = self._parts.pop(task.number, [])
        files = [data for _, data in parts]
        last = outcome.events[-1]
        if isinstance(last, Made) and not self._is_stored:
            files.append(_taken_from(last.path))
        return dataclasses.replace(outcome, events=(*(part for part, _ in parts), last)), files

    def close(self) -> None:
        """Ends the worker, and takes the temporary files away."""
        self._is_over = True
        self._pump.join(_STOPPING)
        self._stack.close()
        remove_leftovers(_folder())

    def _work(self) -> None:
        try:
            while not self._is_over:
                while self._crew.has_room and not self._inbox.empty():
                    self._crew.submit(self._taken(0))
                self._listen()
                if self._crew.is_idle:
                    time.sleep(_LISTENING)
            self._crew.kill()
        except CogvaeError as error:
            self._refuse_all(error)
        except BaseException:  # noqa: BLE001 - a thread's boundary
            traceback.print_exc()
            os._exit(1)  # or calls would wait for ever; the driver sees that the actor died

    def _taken(self, timeout: float) -> Task:
        """The next clip. Raises queue.Empty."""
        task, future = self._inbox.get(timeout=timeout)
        self._waiting[task.number] = future
        return task

    def _listen(self) -> None:
        for event in self._crew.events(_LISTENING):
            if isinstance(event, Noticed):
                self._notices.append(event.text)
            elif isinstance(event, Part):
                self._parts.setdefault(event.number, []).append(
                    (event, b"" if self._is_stored else _taken_from(event.path))
                )
            elif isinstance(event, Made | Failed):
                self._end(event.number, event)

    def _end(self, number: int, event: Made | Failed | Broken) -> None:
        restarts, notices = tuple(self._crew.restarts), tuple(self._notices)
        self._crew.restarts.clear()
        self._notices.clear()
        self._waiting.pop(number).set_result(Outcome((event,), notices, restarts))

    def _refuse_all(self, error: CogvaeError) -> None:
        """Every clip, now and later, ends with what makes all of them impossible."""
        self._crew.kill()
        while not self._is_over:
            for number in list(self._waiting):
                self._end(number, Broken(error))
            with contextlib.suppress(queue.Empty):
                self._taken(_LISTENING)


def _taken_from(path: Path) -> bytes:
    """What is in a file, which is gone then."""
    data = path.read_bytes()
    path.unlink()
    return data


def _folder() -> Path:
    """What the temporary folders of all actors on a machine are named after."""
    return Path(tempfile.gettempdir()) / "cogvae-ray"
