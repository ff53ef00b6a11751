"""A crowd of websockets, some of which never read: ``python -m benchmarks.rehearse crowd``.

A server process runs jobs at a steady pace, and hundreds of websockets follow them: first all of them read, then some
more come that never do. Measured are the server's memory before and after those came, and how long after its commit an
event arrives at the others. At the end the server gets SIGTERM with all sockets open: each has to be told 1001, and the
process has to be gone in time.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from benchmarks.report import Report
from orchestrator.api.server import serve
from orchestrator.bench.workload import REQUEST, NoopAdapter
from orchestrator.process import run
from orchestrator.service import Orchestrator

KEY: Final = "rehearsal-of-a-crowd"
#: The pace: so many jobs of four events each at once, and the pause between.
_JOBS, _PAUSE_S = 20, 0.5
_MEMORY: Final = 64 * 1024 * 1024
_SLOWER: Final = 2.0
#: Below so many milliseconds the machine decides over a 99th percentile, not the server.
_FLOOR_MS: Final = 50.0
_GONE_S: Final = 10.0

_HANDSHAKE: Final = (
    "GET /events/v1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    f"Authorization: apiKey {KEY}\r\n\r\n"
)
_AT: Final = b'"at":'
_SHUTDOWN: Final = re.compile(rb"\x88.\x03\xe9", re.DOTALL)
#: Masked with zeros, and empty.
_PONG: Final = b"\x8a\x80\x00\x00\x00\x00"
_CLOSE: Final = b"\x88\x80\x00\x00\x00\x00"
_PONG_S: Final = 5.0


class Reader(asyncio.Protocol):
    """A websocket that reads: it notes how old the newest event of what it gets is, and what it is told at the end."""

    def __init__(self, port: int, ages_ms: list[float]) -> None:
        self._port, self._ages_ms = port, ages_ms
        self._tail = b""
        self.told = False
        self.transport: asyncio.Transport
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(_HANDSHAKE.format(port=self._port).encode())

    def data_received(self, data: bytes) -> None:
        found = data.rfind(_AT)
        if found >= 0 and len(digits := data[found + len(_AT) : found + len(_AT) + 13]) == 13:
            self._ages_ms.append(time.time() * 1000 - int(digits))
        self._tail = (self._tail + data)[-200:]
        if not self.opened.done() and b" 101 " in data:
            self.opened.set_result(None)
        elif _SHUTDOWN.search(self._tail):
            self.told = True
            self.transport.write(_CLOSE)

    def keep_alive(self) -> None:
        """Say that we are there, from now on."""
        if not self.transport.is_closing():
            self.transport.write(_PONG)
            asyncio.get_running_loop().call_later(_PONG_S, self.keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


async def _serve(folder: Path, port: int) -> None:
    """The server process: jobs at a steady pace until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Orchestrator.open(folder, adapters=[NoopAdapter()]) as orchestrator:
        await orchestrator.accounts.adopt_key(KEY, orchestrator.project.id)
        async with serve(orchestrator, "127.0.0.1", port):
            print("ready", flush=True)
            while not stop.is_set():
                await orchestrator.submit_many([REQUEST] * _JOBS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE_S):
                        await stop.wait()


def _memory(pid: int, name: str) -> int:
    """A figure of a process, bytes: ``VmRSS`` is what it holds, ``VmHWM`` the most it ever held."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def _stalled(port: int) -> socket.socket:
    """A websocket that will never read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.sendall(_HANDSHAKE.format(port=port).encode())
    return made


def _p99(ages_ms: list[float]) -> float:
    ordered = sorted(ages_ms)
    return ordered[len(ordered) * 99 // 100] if ordered else 0.0


async def rehearse(folder: Path, readers: int, stalled: int, seconds: float) -> Report:
    """Run it; see the module. `seconds` is how long each half takes."""
    report = Report()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ("-m", "benchmarks.crowd", str(folder), str(port))
    server = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    idle: list[socket.socket] = []
    loop = asyncio.get_running_loop()
    try:
        if server.stdout is None or await server.stdout.readline() != b"ready\n":
            report.expect(False, "the server did not start")
            return report
        ages_ms: list[float] = []
        crowd: list[Reader] = []
        for _ in range(readers):
            _, reader = await loop.create_connection(lambda: Reader(port, ages_ms), "127.0.0.1", port)
            await reader.opened
            reader.keep_alive()
            crowd.append(reader)
        ages_ms.clear()
        await asyncio.sleep(seconds)
        alone_ms, before = _p99(ages_ms), _memory(server.pid, "VmRSS")
        idle += [await asyncio.to_thread(_stalled, port) for _ in range(stalled)]
        ages_ms.clear()
        await asyncio.sleep(seconds)
        beside_ms, grown = _p99(ages_ms), _memory(server.pid, "VmHWM") - before
        lost = sum(reader.closed.done() for reader in crowd)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        async with asyncio.timeout(2 * _GONE_S):
            code = await server.wait()
        gone_s = time.monotonic() - began
        told = sum(reader.told for reader in crowd)
    finally:
        for each in idle:
            each.close()
        if server.returncode is None:
            server.kill()
            await server.wait()
    report.figures = [
        f"{readers} sockets that read, {stalled} that never do, {4 * _JOBS / _PAUSE_S:.0f} events/s",
        f"p99 from commit to arrival: {alone_ms:.0f} ms alone, {beside_ms:.0f} ms beside those that never read",
        f"memory: {before / 2**20:.0f} MiB, grown by at most {grown / 2**20:.1f} MiB",
        f"SIGTERM: {told} of {readers} told 1001, gone after {gone_s:.2f} s with exit code {code}",
    ]
    report.expect(lost == 0, f"{lost} sockets that read were cut")
    report.expect(grown <= _MEMORY, f"memory grew by {grown / 2**20:.0f} MiB")
    report.expect(
        beside_ms <= _SLOWER * max(alone_ms, _FLOOR_MS), f"p99 went from {alone_ms:.0f} to {beside_ms:.0f} ms"
    )
    report.expect(told == readers, f"{readers - told} sockets were not told 1001")
    report.expect(gone_s <= _GONE_S and code == 0, f"gone after {gone_s:.1f} s with exit code {code}")
    return report


def main() -> None:
    """Run the server process."""
    folder, port = sys.argv[1:]
    run(_serve(Path(folder), int(port)))


if __name__ == "__main__":
    main()
