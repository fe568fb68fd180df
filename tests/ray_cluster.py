"""A Ray cluster of several nodes on this machine, in a process of its own: a fixture starts it and gives it orders.

python ray_cluster.py COUNT     starts COUNT nodes of one CPU, prints the address, removes a node for each line read
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

_STARTS = 8
_STORE = 100 * 2**20  # bytes of shared memory a node


class RayCluster:
    """The process, as tests see it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._answer()
        """Empty if it didn't start."""

    def remove_node(self) -> None:
        """Kills all that runs on the node that came last."""
        assert self._process.stdin is not None
        self._process.stdin.write("remove\n")
        self._process.stdin.flush()
        assert self._answer() == "removed"

    @property
    def pid(self) -> int:
        return self._process.pid

    def actors(self) -> list[int]:
        """Processes that are actors of a batch. A child that one has just forked still has its name, and is none."""
        named = [one for one in descendants(self.pid) if _command(one).startswith("ray::ClipActor")]
        children = {child for one in named for child in descendants(one)}
        return [one for one in named if one not in children]

    def kill_actor(self) -> None:
        """Kills the actor that started first."""
        os.kill(min(self.actors()), signal.SIGKILL)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def ray_cluster(nodes: int, folder: Path) -> Iterator[RayCluster]:
    """A cluster with that many nodes; what it says goes into the folder.

    A node gives up when its agent isn't up within seconds, which nothing can change; on a busy machine that is tried
    again.
    """
    with (folder / "cluster.log").open("w") as log:
        for attempt in range(_STARTS):
            process = _started(nodes, log)
            try:
                cluster = RayCluster(process)
                if cluster.address:
                    yield cluster
                    return
            finally:
                process.communicate(timeout=60)  # the end of its input is the end of it
            log.write(f"attempt {attempt + 1} failed\n")
            log.flush()
    raise AssertionError(f"the cluster didn't start: see {folder}/cluster.log")


def _started(nodes: int, log: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, str(nodes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )


def descendants(process: int) -> list[int]:
    """All processes that descend from one, whichever of its threads started them."""
    children: list[str] = []
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has just gone
            children += thread.read_text().split()
    return [one for child in map(int, children) for one in (child, *descendants(child))]


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _settings() -> dict[str, object]:
    """Of a node. Ports that are given needn't be waited for, which on a busy machine takes Ray too long."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind(("", 0))
        ports = {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}
    bare = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    return {"num_cpus": 1, "object_store_memory": _STORE} | bare | ports


def _serve(count: int) -> None:
    from ray.cluster_utils import Cluster

    out, sys.stdout = sys.stdout, sys.stderr  # Ray's own words aren't answers
    cluster = Cluster(initialize_head=True, head_node_args=_settings())
    nodes = [cluster.add_node(**_settings()) for _ in range(count - 1)]
    print(cluster.address, file=out, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print("removed", file=out, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
