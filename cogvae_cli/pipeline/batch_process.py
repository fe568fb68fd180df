"""The worker process as its supervisor sees it: started, listened to, and killed when it is dead or hangs."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO

from cogvae_cli.pipeline.batch_messages import FromWorker, Job, Task

_START = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != {parent}:
    os._exit(1)
sys.path[:] = {path!r}
from cogvae_cli.pipeline.batch_worker import main
main({descriptor})
"""
"""Before all else it has the kernel kill it when the supervisor dies (1 is PR_SET_PDEATHSIG): its device is needed
then, and one that hangs couldn't see for itself that nobody is there."""

_AT_ONCE = 64  # messages that are taken before the supervisor does something else
_FAREWELL = 5.0  # seconds that an idle worker gets to end by itself
_TAIL = 4096
_WITHIN_MESSAGE = 20  # seconds


class WorkerProcess:
    """One worker. Its words that are no messages (XLA's, a crash's) go to `log`, and none to the terminal."""

    def __init__(self, job: Job, log: Path) -> None:
        ours, theirs = socket.socketpair()
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # one that stops within a message is as good as dead
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _WITHIN_MESSAGE, 0))
        self._log_path = log
        self._log: IO[bytes] = log.open("wb")
        self.heard = time.monotonic()
        """When the last message came."""
        with ours, theirs:
            code = _START.format(path=sys.path, descriptor=theirs.fileno(), parent=os.getpid())
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C in a terminal is for the supervisor alone
            )
            self._connection = Connection(ours.detach())
        self._send(job)

    @property
    def pid(self) -> int:
        return self._process.pid

    def submit(self, task: Task) -> None:
        """Gives it a clip. A worker that has just died takes it too: its end is heard of next."""
        self._send(task)

    def messages(self, timeout: float) -> list[FromWorker] | None:
        """What it says, waiting for at most that many seconds; None once it has died and said all."""
        found: list[FromWorker] = []
        try:
            if wait([self._connection], timeout):
                while len(found) < _AT_ONCE and self._connection.poll():
                    found.append(self._connection.recv())
        except (EOFError, OSError):
            if not found:
                return None
        if found:
            self.heard = time.monotonic()
        return found

    def kill(self) -> str:
        """Ends it whatever it does; says how it died, with the last line that it wrote."""
        self._process.kill()
        return self._end()

    def close(self) -> None:
        """Lets an idle worker end by itself."""
        self._connection.close()
        try:
            self._process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()

    def died(self) -> str:
        """How it died, once `messages` gave None."""
        try:
            self._process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._end()

    def _end(self) -> str:
        code = self._process.wait()
        self._connection.close()
        self._log.close()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        lines = self._tail().splitlines()
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{how} ({said})" if said and code not in (0, -signal.SIGKILL) else how

    def _tail(self) -> str:
        with self._log_path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read().decode("utf-8", "replace")

    def _send(self, message: Job | Task) -> None:
        try:
            self._connection.send(message)
        except OSError:
            return  # it has died, which `messages` tells
