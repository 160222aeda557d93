"""Ports of the loopback interface that nobody else takes meanwhile."""

import socket
from contextlib import closing

from filelock import FileLock

from tests.support import once

FIRST, LAST = 20_000, 32_000  # below those that the operating system hands out by itself


def free_port() -> int:
    """Return a port that nobody listens on, and that no other test of this run is given."""
    given = once.folder() / "port"
    with FileLock(once.folder() / "port.lock"):
        port = int(given.read_text()) + 1 if given.is_file() else FIRST
        while _is_taken(port):
            port += 1
        if port > LAST:
            raise RuntimeError(f"no port from {FIRST} to {LAST} is free")
        given.write_text(str(port))
    return port


def _is_taken(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
