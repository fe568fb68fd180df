"""Whether a Ray cluster's address answers: Ray itself would try again for minutes before it says that none does."""

from __future__ import annotations

import socket

SECONDS = 10.0


def reach(address: str | None) -> None:
    """Returns where something listens, or where the address is none of a host (`auto`, `local`).

    Raises OSError where nothing does within ten seconds.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
