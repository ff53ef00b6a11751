"""One client's connection: a websocket, or a stream of server-sent events. Both are written to in whole frames.

Writing is synchronous and joins the transport's buffer, whose size is bounded: `full` tells that the client takes
less than it is sent, `drained` waits until it has caught up. Frames are made by the `wire`, outside.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar, Final

import anyio
from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from orchestrator.api.feed.frames import EVENT_STREAM, WEBSOCKET, CloseFrame, Wire, encode

#: Bytes a connection may hold in our memory before it counts as full, and in the kernel's.
BUFFER: Final = 65_536
_KERNEL_BUFFER: Final = 262_144
_MAX_MESSAGE: Final = 65_536
_MAX_REASON: Final = 123


class Connection(ABC):
    """See the module.

    Args:
        headers: Go into the head of the answer.
    """

    wire: ClassVar[Wire]

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._transport = request.transport
        self._writer: AbstractStreamWriter
        self._draining: asyncio.Task[None] | None = None

    async def open(self) -> web.StreamResponse:
        """Answer the request's head; what is answered here is the handler's response.

        Raises:
            ConnectionError: The client is gone.
        """
        if self._transport is None:
            raise ConnectionResetError("the client left")
        self._transport.set_write_buffer_limits(high=BUFFER)
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
        response = self._response()
        response.headers.update(self._headers)
        writer = await response.prepare(self._request)
        if writer is None:
            raise ConnectionResetError("the client left")
        self._writer = writer
        return response

    @abstractmethod
    def _response(self) -> web.StreamResponse: ...

    def write(self, data: bytes) -> bool:
        """Hand bytes over; False if the client left or does not keep up, and has to be waited for."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return not self._request.protocol.writing_paused

    def beat(self) -> bool:
        """Give a sign of life, and ask for one where clients give any; answers as `write`."""
        return self.write(self.wire.beat)

    @property
    def silent(self) -> bool:
        """Whether the client has given no sign of life since it was asked for one."""
        return False

    @property
    def gone(self) -> bool:
        """Whether the client left."""
        return self._transport is None or self._transport.is_closing()

    async def drained(self) -> None:
        """Wait until the client has taken most of what it was sent, or has left.

        aiohttp shares one future among all who wait: cancelling a wait must not reach it.
        """
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain())
        await asyncio.shield(self._draining)

    async def _drain(self) -> None:
        with suppress(ConnectionError):  # `gone` tells
            await self._writer.drain()

    @abstractmethod
    async def listen(self) -> None:
        """Return when the client leaves, if that can be heard."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> bool:
        """Say why and end it; False if the client had ended it before. Waits for the client."""

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()


class WebSocket(Connection):
    """A websocket. aiohttp's own heartbeat would cut a client that reads nothing without saying why."""

    wire = WEBSOCKET

    def __init__(self, request: web.Request, headers: Mapping[str, str], close_s: float) -> None:
        super().__init__(request, headers)
        self._asked = False
        self._socket = web.WebSocketResponse(autoping=False, timeout=close_s, max_msg_size=_MAX_MESSAGE, compress=False)

    def _response(self) -> web.StreamResponse:
        return self._socket

    async def listen(self) -> None:
        """What a client says is ignored; its pings are answered."""
        async for message in self._socket:
            self._asked = False
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)

    def beat(self) -> bool:
        self._asked = True
        return super().beat()

    @property
    def silent(self) -> bool:
        return self._asked

    async def close(self, code: int, reason: str) -> bool:
        return await self._socket.close(code=code, message=reason.encode()[:_MAX_REASON])


class EventStream(Connection):
    """Server-sent events. That the client left shows at the next write, a heartbeat's at the latest."""

    wire = EVENT_STREAM

    def _response(self) -> web.StreamResponse:
        self._stream = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        return self._stream

    async def open(self) -> web.StreamResponse:
        response = await super().open()
        await self._stream.write(b":\n\n")  # sends the head with it
        return response

    async def listen(self) -> None:
        await anyio.sleep_forever()

    async def close(self, code: int, reason: str) -> bool:
        if self.gone:
            return False
        self.write(self.wire.joined((self.wire.frame(encode(CloseFrame(code=code, reason=reason))),)))
        await self._stream.write_eof()
        return True
