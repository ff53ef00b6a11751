"""Slow and many clients: aiohttp times neither out, so connections guard themselves.

A connection must complete the head of a request within a time limit, counted from its opening or from the
first bytes after the previous answer. There is a limit on connections in all and per address. One sweep a
second looks at all connections; a request costs two assignments.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final, cast

import msgspec
from aiohttp import web

from orchestrator.api.errors import Internal, answer
from orchestrator.errors import InvalidRequest

_SWEEP_S: Final = 1.0
#: Seconds for which the rest of a refused body is read and dropped, so that the client sees the refusal.
_LINGER_S: Final = 10.0
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)
_FULL_BODY: Final = (
    b'{"statusCode":503,"error":"Service Unavailable","message":"too many connections","code":"unavailable"}'
)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the HTTP side.

    Attributes:
        head_s: Seconds a client has for a complete request head.
        body_s: Seconds a client has for a body.
        keepalive_s: Seconds a connection may idle between requests.
        connections: Connections in all.
        per_address: Connections of one address.
    """

    head_s: float = 10.0
    body_s: float = 30.0
    keepalive_s: float = 75.0
    connections: int = 2048
    per_address: int = 1024


class Connection(web.RequestHandler):
    """One connection, guarded."""

    __slots__ = ("_address", "_guard", "waiting_since")

    def __init__(self, guard: Guard, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=guard.limits.keepalive_s,
            lingering_time=min(_LINGER_S, guard.limits.body_s),
            access_log=None,  # type: ignore[arg-type]  # None turns it off
            auto_decompress=False,
        )
        self._guard = guard
        self._address = ""
        #: Loop time since when a request head is awaited; None while a request is served or nothing came.
        self.waiting_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else ""
        if not self._guard.admit(self, self._address):
            self._close = True
            full: asyncio.Transport = cast("asyncio.Transport", transport)
            full.write(_FULL % (len(_FULL_BODY), _FULL_BODY))
            full.close()
            return
        self.waiting_since = self._loop.time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.waiting_since is None and self._current_request is None:
            self.waiting_since = self._loop.time()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._guard.forget(self, self._address)
        super().connection_lost(exc)

    def head_complete(self) -> None:
        """A request's head has come in; told by whoever handles it."""
        self.waiting_since = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to bytes that are not HTTP, in the form of all errors."""
        error = InvalidRequest("the request is not HTTP/1.1", code="invalid_http") if status < 500 else Internal()
        response = answer(error, vendor=True)
        response.force_close()
        return response


class Guard:
    """The connections of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._connections: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, connection: Connection, address: str) -> bool:
        """Take a connection in, unless a limit is reached."""
        if len(self._connections) >= self.limits.connections:
            return False
        if address and self._addresses[address] >= self.limits.per_address:
            return False
        self._connections.add(connection)
        self._addresses[address] += 1
        return True

    def forget(self, connection: Connection, address: str) -> None:
        """A connection is gone; those never admitted are not counted."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start sweeping, until `close`."""
        self._timer = loop.call_later(min(_SWEEP_S, self.limits.head_s / 4), self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        latest = loop.time() - self.limits.head_s
        for connection in self._connections:
            if connection.waiting_since is not None and connection.waiting_since < latest:
                connection.force_close()
        self.watch(loop)

    def close(self) -> None:
        """Stop sweeping."""
        if self._timer is not None:
            self._timer.cancel()


class GuardedSite(web.BaseSite):
    """A listening site whose connections are guarded."""

    __slots__ = ("_guard", "_host", "_port")

    def __init__(self, runner: web.BaseRunner, guard: Guard, host: str, port: int) -> None:
        super().__init__(runner)
        self._guard, self._host, self._port = guard, host, port

    @property
    def name(self) -> str:
        """The URL it listens on; after `start` with the real port."""
        port = self._port
        if self._server is not None:
            port = self._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address is taken or not ours.
        """
        await super().start()
        server = cast("web.Server", self._runner.server)  # the base class checked it
        loop = asyncio.get_running_loop()
        guard = self._guard
        self._server = await loop.create_server(
            lambda: Connection(guard, server, loop), self._host, self._port, backlog=1024
        )
        guard.watch(loop)

    async def stop(self) -> None:
        """Stop listening; open connections are the runner's to close."""
        self._guard.close()
        await super().stop()
