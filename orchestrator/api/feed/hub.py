"""The feeds that are open, and how they end: at shutdown, with their key, or for being slow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Final

import anyio
from aiohttp import web

#: Seconds a client has to take a frame, to answer a close, and to read what was sent before it.
SEND_S: Final = 5.0
CLOSE_S: Final = 1.0
FLUSH_S: Final = 5.0
_MAX_REASON: Final = 123


class Close(IntEnum):
    """Close codes of the feed."""

    SHUTDOWN = 1001
    BROKEN = 1011
    KEY = 4401
    SLOW = 4408
    EXPIRED = 4410


class Feed:
    """One open websocket."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, key_id: str | None) -> None:
        self._request = request
        self._socket = socket
        self.key_id = key_id

    async def send(self, frame: bytes) -> bool:
        """Send a text frame; False if the client did not take it in time or is gone."""
        try:
            async with asyncio.timeout(SEND_S):
                await self._socket.send_frame(frame, web.WSMsgType.TEXT)
        except TimeoutError:
            return False
        return True

    async def receive(self) -> None:
        """Read until the client closes; what it says is ignored, pings are answered."""
        async for _ in self._socket:
            pass

    async def close(self, code: Close, reason: str = "") -> None:
        """End it, with a close frame if the client takes one in time.

        The reader ends as soon as closing begins, and cancels the feed: closing goes on.
        """
        transport = self._request.transport
        # No drain: one that timed out has left a canceled future behind, on which the next would fail at once.
        with anyio.move_on_after(CLOSE_S, shield=True), suppress(ConnectionError):
            await self._socket.close(code=code, message=reason.encode()[:_MAX_REASON], drain=False)
        if transport is not None:
            asyncio.get_running_loop().call_later(FLUSH_S, transport.abort)


class Hub:
    """All open feeds of one application."""

    def __init__(self) -> None:
        self._feeds: set[Feed] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """How many feeds are open."""
        return len(self._feeds)

    @contextmanager
    def joined(self, feed: Feed) -> Iterator[None]:
        """Know a feed while the block runs."""
        self._feeds.add(feed)
        try:
            yield
        finally:
            self._feeds.discard(feed)

    def revoked(self, key_id: str) -> None:
        """Close the feeds of a key that died."""
        for feed in self._feeds:
            if feed.key_id == key_id:
                task = asyncio.get_running_loop().create_task(feed.close(Close.KEY, "the key was revoked"))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all feeds, all at once."""
        closing = [feed.close(Close.SHUTDOWN, "the server stops") for feed in self._feeds]
        await asyncio.gather(*closing, *self._closing)
