"""The admin socket as a file: who may open it may do everything that the routes of `admin` do. Needs no aiohttp."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from orchestrator.datafolder import ADMIN_SOCKET

#: Longest address of a Unix socket that all systems take, in bytes.
_LONGEST: Final = 100
_TIMEOUT_S: Final = 1.0


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """An address for the socket at `path` that is short enough for the system, while the block runs."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path) -> socket.socket:
    """A listening socket that only this user may open.

    What stood at the path is removed: whoever holds the folder's lock owns it.
    """
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), 0o600)  # on Linux the file is made with this mode: it is never open to others
        with reachable(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        listening.listen()
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def served(data: Path) -> bool:
    """Whether a server listens on the folder's admin socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        try:
            with reachable(data / ADMIN_SOCKET) as address:
                connection.connect(address)
        except OSError:
            return False
    return True
