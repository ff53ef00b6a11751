"""The load generator: ``python -m orchestrator.bench.load URL CONNECTIONS SECONDS``, the request on standard input.

A process of its own, so that its work is not the server's; cheap, so that a small machine has time for the
server: bytes made beforehand, one protocol object per connection, nothing decoded but the end of an answer.
Each connection sends a request when its last one was answered. Prints `Load` as JSON.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import Final
from urllib.parse import urlsplit

import msgspec

from orchestrator.process import run

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
#: A server that goes silent ends the measurement, seconds after its planned end.
_PATIENCE_S: Final = 30.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        answers: Answers with a 2xx status; `refused` counts the others.
        begun: When the first request left, all connections being open; `ended`: when the last answer came. Seconds of
            the clock all processes of a machine share (`time.monotonic`).
    """

    answers: int
    refused: int
    begun: float
    ended: float

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.answers / (self.ended - self.begun)


def request_bytes(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A whole POST request."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self, generator: _Generator) -> None:
        self._generator = generator
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # TCP: reads and writes

    def send(self) -> None:
        self._transport.write(self._generator.request)

    def data_received(self, data: bytes) -> None:
        self._buffer = answer = self._buffer + data if self._buffer else data
        head = answer.find(b"\r\n\r\n") + 4
        if head < 4 or (length := _LENGTH.search(answer, 0, head)) is None or len(answer) < head + int(length[1]):
            return
        self._buffer = b""
        if self._generator.answered(answer[9:10] == b"2"):
            self.send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._generator.closed()


class _Generator:
    def __init__(self, request: bytes) -> None:
        self.request = request
        self._answers = self._refused = 0
        self._until = 0.0
        self._open = 0
        self._over = asyncio.Event()

    def answered(self, accepted: bool) -> bool:
        """Count an answer; whether to go on."""
        self._answers += accepted
        self._refused += not accepted
        return time.monotonic() < self._until

    def closed(self) -> None:
        self._open -= 1
        if not self._open:
            self._over.set()

    async def run(self, host: str, port: int, connections: int, seconds: float) -> Load:
        loop = asyncio.get_running_loop()
        opened = [(await loop.create_connection(lambda: _Connection(self), host, port))[1] for _ in range(connections)]
        self._open = connections
        begun = time.monotonic()
        self._until = begun + seconds
        for connection in opened:
            connection.send()
        async with asyncio.timeout(seconds + _PATIENCE_S):
            await self._over.wait()
        return Load(answers=self._answers, refused=self._refused, begun=begun, ended=time.monotonic())


def main() -> None:
    """Run as a process."""
    url, connections, seconds = sys.argv[1:]
    parts = urlsplit(url)
    generator = _Generator(sys.stdin.buffer.read())
    load = run(generator.run(parts.hostname or "", parts.port or 80, int(connections), float(seconds)))
    sys.stdout.buffer.write(msgspec.json.encode(load))


if __name__ == "__main__":
    main()
