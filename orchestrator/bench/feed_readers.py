"""The subscribers of the feed's bench: ``python -m orchestrator.bench.feed_readers COUNT URL HEADER [URL HEADER ...]``.

A process of its own, so that its work is not the server's; cheap, so that a small machine has time for the server:
it counts bytes and decodes nothing. It opens COUNT websockets to each URL and prints ``ready``. Then it answers each
line ``INDEX BYTES`` of standard input when all websockets of that URL have got so many bytes more: with the time at
which the last one had, seconds of the clock all processes of a machine share (`time.monotonic`).
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final, cast
from urllib.parse import urlsplit

from orchestrator.process import run

_HANDSHAKE: Final = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{header}\r\n\r\n"
)
#: A masked, empty pong. A server that hears from us does not ping, and its pings would be bytes that nobody counts on.
_PONG: Final = b"\x8a\x80\x00\x00\x00\x00"
_PONG_S: Final = 5.0


class _Side:
    """The websockets of one URL."""

    def __init__(self, url: str, header: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self.request = _HANDSHAKE.format(path=path, host=parts.netloc, header=header).encode()
        self.readers: list[_Reader] = []
        self.target = 0
        self.short = 0
        self.done = asyncio.Event()

    def expect(self, size: int) -> None:
        self.target += size
        self.done.clear()
        self.short = sum(reader.received < self.target for reader in self.readers)
        if not self.short:
            self.done.set()

    def keep_alive(self) -> None:
        """Say from now on that we are there."""
        for reader in self.readers:
            reader.transport.write(_PONG)
        asyncio.get_running_loop().call_later(_PONG_S, self.keep_alive)

    def one_more(self) -> None:
        self.short -= 1
        if not self.short:
            self.done.set()


class _Reader(asyncio.Protocol):
    def __init__(self, side: _Side) -> None:
        self._side = side
        self._head: bytes | None = b""
        self.received = 0
        self.transport: asyncio.Transport
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # TCP: reads and writes
        self.transport.write(self._side.request)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            if b" 101 " not in head:
                raise SystemExit(head.decode(errors="replace"))
            self._head = None
            self.opened.set_result(None)
        side = self._side
        before = self.received
        self.received += len(data)
        if before < side.target <= self.received:
            side.one_more()

    def connection_lost(self, exc: Exception | None) -> None:
        raise SystemExit("a subscriber was cut")


async def _run(count: int, sides: list[_Side]) -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    for side in sides:
        for _ in range(count):
            _, reader = await loop.create_connection(lambda side=side: _Reader(side), side.host, side.port)  # type: ignore[misc]
            side.readers.append(reader)
            await reader.opened
        side.keep_alive()
    print("ready", flush=True)  # noqa: T201 - the protocol of this process
    while line := await commands.readline():
        index, size = map(int, line.split())
        sides[index].expect(size)
        await sides[index].done.wait()
        print(time.monotonic(), flush=True)  # noqa: T201


def main() -> None:
    """Run as a process."""
    count, *rest = sys.argv[1:]
    run(_run(int(count), [_Side(*pair) for pair in zip(rest[::2], rest[1::2], strict=True)]))


if __name__ == "__main__":
    main()
