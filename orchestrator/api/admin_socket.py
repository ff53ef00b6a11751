"""The admin socket, from both ends: who may open the file may do everything. Needs no aiohttp.

A client sends JSON over HTTP to the routes of `admin`:

    with AdminClient(folder) as admin:
        projects = admin.call("GET", "/projects")
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

from orchestrator.datafolder import ADMIN_SOCKET
from orchestrator.errors import OrchestratorError

#: Longest address of a Unix socket that all systems take, in bytes.
_LONGEST: Final = 100


class AdminError(OrchestratorError):
    """The server refused a request of the admin socket. ``code`` is the server's."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(body.get("message", f"the server answered {status}"))
        self.code = str(body.get("code", "internal"))  # type: ignore[misc]
        self.status = status


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
    try:
        _connect(data / ADMIN_SOCKET, 1.0).close()
    except OSError:
        return False
    return True


def _connect(path: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        with reachable(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("admin", timeout=timeout_s)
        self._path, self._timeout_s = path, timeout_s

    def connect(self) -> None:
        self.sock = _connect(self._path, self._timeout_s)


class AdminClient:
    """Speaks to the server that owns a data folder. Blocking; for commands, not for loops.

    Args:
        data: The data folder.
        timeout_s: Longest wait for an answer.
    """

    def __init__(self, data: Path, *, timeout_s: float = 60.0) -> None:
        self._connection = _Connection(data / ADMIN_SOCKET, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def call(
        self, method: str, path: str, body: object = None, *, query: Mapping[str, str | int | None] | None = None
    ) -> Any:
        """Ask, and answer the decoded body.

        Raises:
            OSError: No server listens.
            AdminError: It refused.
        """
        return json.loads(self.call_bytes(method, path, body, query=query) or b"null")

    def call_bytes(
        self, method: str, path: str, body: object = None, *, query: Mapping[str, str | int | None] | None = None
    ) -> bytes:
        """As `call`, without decoding: for typed decoders.

        Raises:
            OSError, AdminError: See `call`.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = f"{path}?{urlencode(given)}" if given else path
        payload = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        self._connection.request(method, target, payload, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= 400:
            raise AdminError(response.status, json.loads(answer))
        return answer
