"""The feed under a server that is killed: ``python -m benchmarks.rehearse feed``.

A server process runs jobs until its log holds so many events. It is killed (SIGKILL) again and again at random
moments, and started again on the same folder and port. Meanwhile many websockets read it; each drops its connection
after a random number of events and goes on from its last cursor, at times from an older one. Every event must come
right after the one before it, and must be the same bytes for all readers, before and after a restart.

The readers share two cores with the server and take ten million frames, so they decode next to none. The log is kept
as bytes, every frame of it checked once, when the first reader brings it: that it continues the log. What any other
reader gets is compared with the log where that reader stands, whole chunks at a time; what differs is looked at frame
by frame, and is either no event or a fault.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.report import Report
from orchestrator.api.server import serve
from orchestrator.bench.workload import REQUEST, NoopAdapter
from orchestrator.process import run
from orchestrator.service import Orchestrator

KEY: Final = "rehearsal-of-the-feed"
#: Jobs the server runs at a time, and batches of them under way at once.
_BATCH: Final = 250
_CHUNK: Final = 262_144
_TOLD_S: Final = 10.0
_LIMIT_S: Final = 1_800.0

_HANDSHAKE: Final = (
    "GET /events/v1?cursor={cursor} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    f"Authorization: apiKey {KEY}\r\n\r\n"
)
_EVENT: Final = b'{"type":"event","cursor":"'
_TEXT, _CLOSE, _PING = 0x81, 0x88, 0x89
_SLOW: Final = 4408
#: The answer to a ping: masked with zeros, and empty, which aiohttp accepts.
_PONG: Final = b"\x8a\x80\x00\x00\x00\x00"


@dataclass
class Log:
    """The events that were seen, as their frames came over the wire, and what was wrong.

    Attributes:
        ends: Where the frame of each sequence ends in `wire`; that of sequence 0 ends at 0.
        read: Events that readers have taken, each as often as it was read.
        cuts: Readers that were too slow and were told so.
    """

    epoch: str = "earliest"
    wire: bytearray = field(default_factory=bytearray)
    ends: array[int] = field(default_factory=lambda: array("Q", [0]))
    read: int = 0
    cuts: int = 0
    connections: int = 0
    problems: list[str] = field(default_factory=list)
    _marks: dict[int, asyncio.Event] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The sequence of the newest event."""
        return len(self.ends) - 1

    def cursor(self, sequence: int) -> str:
        """How the server is asked to go on after it."""
        return f"{self.epoch}:{sequence}" if sequence else "earliest"

    async def reached(self, events: int) -> None:
        """Wait until so many events are known."""
        if self.newest < events:
            await self._marks.setdefault(events, asyncio.Event()).wait()

    def alike(self, sequence: int, chunk: bytes, limit: int) -> int:
        """How many events after `sequence`, up to that of `limit`, the chunk begins with, and with nothing else."""
        begin = self.ends[sequence]
        if memoryview(self.wire)[begin : begin + len(chunk)] != memoryview(chunk)[: len(self.wire) - begin]:
            return 0
        low, high = sequence, min(limit, self.newest)
        while low < high:  # the last one that ends within the chunk
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.ends[middle] - begin <= len(chunk) else (low, middle - 1)
        return low - sequence

    def check(self, before: int, frame: bytes, payload: bytes) -> int:
        """Take in one event that came after the one of sequence `before`; answers its own sequence."""
        self.epoch, _, digits = payload[len(_EVENT) : payload.index(b'"', len(_EVENT))].decode().rpartition(":")
        sequence = int(digits)
        if sequence != before + 1:
            fault = "a gap" if sequence > before else "a duplicate" if sequence == before else "an inversion"
            self.problems.append(f"{fault}: {sequence} after {before}")
        if sequence == self.newest + 1:
            self.wire += frame
            self.ends.append(len(self.wire))
            if (mark := self._marks.get(sequence)) is not None:
                mark.set()
        elif self.wire[self.ends[sequence - 1] : self.ends[sequence]] != frame:
            self.problems.append(f"event {sequence} is not what it was: {payload.decode(errors='replace')}")
        return sequence


class Reader:
    """One reader: it has all events up to `reached`, and began again from a cursor now and then."""

    def __init__(self, log: Log, port: int, events: int, rng: random.Random) -> None:
        self._log, self._port, self._events, self._rng = log, port, events, rng
        self.reached = 0
        self._stops = [0]

    async def run(self) -> None:
        """Read until all events were seen."""
        while self.reached < self._events:
            if self._rng.random() < 0.1:
                self.reached = self._rng.choice(self._stops)
            until = min(self._events, self.reached + self._rng.randint(1, max(2, self._events // 5)))
            try:
                stream, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_CHUNK)
            except OSError:
                await asyncio.sleep(self._rng.uniform(0, 0.2))  # the server is down
                continue
            try:
                await self._connection(stream, writer, until)
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(self._rng.uniform(0, 0.2))  # it was killed
            finally:
                writer.transport.abort()
            self._stops = [*self._stops[-5:], self.reached]

    async def _connection(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter, until: int) -> None:
        """One websocket, up to the event of sequence `until` or its end."""
        writer.write(_HANDSHAKE.format(cursor=self._log.cursor(self.reached), port=self._port).encode())
        head = await stream.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            self._log.problems.append(f"refused: {head.decode(errors='replace')}")
            return
        self._log.connections += 1
        left = b""
        while self.reached < until:
            data = await stream.read(_CHUNK)
            if not data:
                return
            left = self._take(left + data, until, writer)

    def _take(self, data: bytes, until: int, writer: asyncio.StreamWriter) -> bytes:
        """Take in what came; answers what is no whole frame yet."""
        log = self._log
        while data and self.reached < until:
            count = log.alike(self.reached, data, until)
            if count:
                data = data[log.ends[self.reached + count] - log.ends[self.reached] :]
                self.reached += count
                log.read += count
                continue
            size = _size(data)
            if size is None or len(data) < size:
                break
            frame, data = data[:size], data[size:]
            payload = frame[2 if size < 128 else 4 if frame[1] == 126 else 10 :]
            if frame[0] == _PING:
                writer.write(_PONG)
            elif frame[0] == _TEXT and payload.startswith(_EVENT):
                self.reached = log.check(self.reached, frame, payload)
                log.read += 1
            elif frame[0] == _CLOSE and int.from_bytes(payload[:2]) == _SLOW:
                log.cuts += 1  # the server hangs up, and this reader goes on from its cursor
            elif not payload.startswith(b'{"type":"live"'):
                log.problems.append(f"not an event: {frame[:200]!r}")
        return data


def _size(data: bytes) -> int | None:
    """How long the frame is that the data begins with, in all; None if that is not told yet."""
    if len(data) < 2 or data[1] < 126:
        return None if len(data) < 2 else 2 + data[1]
    width = 2 if data[1] == 126 else 8
    return None if len(data) < 2 + width else 2 + width + int.from_bytes(data[2 : 2 + width])


async def _serve(folder: Path, port: int, events: int) -> None:
    """The server process: runs jobs until the log is long enough, serves until it is killed."""
    async with Orchestrator.open(folder, adapters=[NoopAdapter()]) as orchestrator:
        await orchestrator.accounts.adopt_key(KEY, orchestrator.project.id)
        async with serve(orchestrator, "127.0.0.1", port):
            while (missing := events - orchestrator.event_log.newest) > 0:
                jobs = await orchestrator.submit_many([REQUEST] * min(_BATCH, missing // 4 + 1))
                for job in jobs:
                    await orchestrator.wait(job.id)
            await asyncio.Event().wait()


async def _tell(log: Log, readers: list[Reader], events: int) -> None:
    """Say now and then how far it is."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(_TOLD_S)
        done = sum(reader.reached for reader in readers) / len(readers) / events
        print(
            f"{time.monotonic() - began:5.0f} s: {log.newest:,} events, {log.read:,} read over {log.connections:,} "
            f"connections, readers at {done:.0%}, {len(log.problems)} problems",
            flush=True,
        )


async def rehearse(folder: Path, events: int, readers: int, kills: int, seed: int) -> Report:
    """Run it; see the module.

    Raises:
        TimeoutError: The readers did not get through.
    """
    rng, log, began = random.Random(seed), Log(), time.monotonic()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ("-m", "benchmarks.feed_rehearsal", str(folder), str(port), str(events))

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=asyncio.subprocess.DEVNULL)

    many = [Reader(log, port, events, random.Random(f"{seed} {number}")) for number in range(readers)]
    server = await start()
    telling = asyncio.create_task(_tell(log, many, events))
    try:
        async with asyncio.timeout(_LIMIT_S), asyncio.TaskGroup() as group:
            for reader in many:
                group.create_task(reader.run())
            for turn in range(1, kills + 1):
                await log.reached(events * turn // (kills + 2))  # spread over the run, whatever its pace
                await asyncio.sleep(rng.uniform(0, 0.05))
                server.send_signal(signal.SIGKILL)
                await server.wait()
                server = await start()
    finally:
        telling.cancel()
        server.kill()
        await server.wait()
    return Report(
        figures=[
            f"{log.newest:,} events, {log.read:,} read by {readers} readers over {log.connections:,} connections, "
            f"{kills} kills, {log.cuts} cut for being slow, {time.monotonic() - began:.0f} s"
        ],
        problems=log.problems,
    )


def main() -> None:
    """Run the server process."""
    folder, port, events = sys.argv[1:]
    run(_serve(Path(folder), int(port), int(events)))


if __name__ == "__main__":
    main()
