"""The feed under a server that is killed: ``python -m benchmarks.rehearse feed``.

A server process runs jobs until its log holds so many events. It is killed (SIGKILL) again and again at random
moments, and started again on the same folder and port. Meanwhile many websockets read it; each drops its connection
after a random number of frames and goes on from its last cursor, at times from an older one. Every event must come
right after the one before it, and must be the same bytes for all readers, before and after a restart.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession, TCPConnector, WSMsgType

from benchmarks.report import Report
from orchestrator.api.server import serve
from orchestrator.bench.workload import REQUEST, NoopAdapter
from orchestrator.process import run
from orchestrator.service import Orchestrator

KEY: Final = "rehearsal-of-the-feed"
_BATCH: Final = 25
_LIMIT_S: Final = 1_800.0


@dataclass
class Tally:
    """What was seen. `sums`: a checksum of each event's frame, by sequence."""

    frames: int = 0
    connections: int = 0
    problems: list[str] = field(default_factory=list)
    sums: dict[int, int] = field(default_factory=dict)
    _marks: dict[int, asyncio.Event] = field(default_factory=dict)

    async def reached(self, events: int) -> None:
        """Wait until so many different events have been seen."""
        if len(self.sums) < events:
            await self._marks.setdefault(events, asyncio.Event()).wait()

    def check(self, before: int, sequence: int, frame: str) -> None:
        """Count one event that came after the one of sequence `before`."""
        self.frames += 1
        if sequence != before + 1:
            fault = "a gap" if sequence > before else "a duplicate" if sequence == before else "an inversion"
            self.problems.append(f"{fault}: {sequence} after {before}")
        digest = zlib.crc32(frame.encode())
        if self.sums.setdefault(sequence, digest) != digest:
            self.problems.append(f"event {sequence} is not what it was: {frame}")
        if (mark := self._marks.get(len(self.sums))) is not None:
            mark.set()


async def _serve(folder: Path, port: int, events: int) -> None:
    """The server process: runs jobs until the log is long enough, serves until it is killed."""
    async with Orchestrator.open(folder, adapters=[NoopAdapter()]) as orchestrator:
        await orchestrator.accounts.adopt_key(KEY, orchestrator.project.id)
        async with serve(orchestrator, "127.0.0.1", port):
            while orchestrator.event_log.newest < events:
                jobs = await orchestrator.submit_many([REQUEST] * _BATCH)
                for job in jobs:
                    await orchestrator.wait(job.id)
            await asyncio.Event().wait()


async def _read(session: ClientSession, url: str, events: int, tally: Tally, rng: random.Random) -> None:
    """One reader, until it has seen all events."""
    headers = {"Authorization": f"apiKey {KEY}"}
    cursor, reached = "earliest", 0
    kept: list[tuple[str, int]] = [(cursor, reached)]
    while reached < events:
        if rng.random() < 0.1:
            cursor, reached = rng.choice(kept)
        left = rng.randint(1, max(2, events // 5))
        try:
            async with session.ws_connect(url, params={"cursor": cursor}, headers=headers) as feed:
                tally.connections += 1
                async for message in feed:
                    if message.type is not WSMsgType.TEXT:
                        break
                    frame: str = message.data
                    if not frame.startswith('{"type":"event"'):
                        continue
                    cursor = frame.split('"', 8)[7]
                    sequence = int(cursor.rpartition(":")[2])
                    tally.check(reached, sequence, frame)
                    reached, left = sequence, left - 1
                    if reached >= events or not left:
                        break
        except (ClientError, OSError):
            await asyncio.sleep(rng.uniform(0, 0.2))  # the server is down
        kept = [*kept[-20:], (cursor, reached)]


async def rehearse(folder: Path, events: int, readers: int, kills: int, seed: int) -> Report:
    """Run it; see the module.

    Raises:
        TimeoutError: The readers did not get through.
    """
    rng, tally = random.Random(seed), Tally()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ("-m", "benchmarks.feed_rehearsal", str(folder), str(port), str(events))

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=asyncio.subprocess.DEVNULL)

    server = await start()
    try:
        async with (
            asyncio.timeout(_LIMIT_S),
            ClientSession(connector=TCPConnector(limit=0)) as session,
            asyncio.TaskGroup() as group,
        ):
            url = f"http://127.0.0.1:{port}/events/v1"
            for number in range(readers):
                group.create_task(_read(session, url, events, tally, random.Random(f"{seed} {number}")))
            for turn in range(1, kills + 1):
                await tally.reached(events * turn // (kills + 2))  # spread over the run, whatever its pace
                await asyncio.sleep(rng.uniform(0, 0.05))
                server.send_signal(signal.SIGKILL)
                await server.wait()
                server = await start()
    finally:
        server.kill()
        await server.wait()
    return Report(
        figures=[
            f"{len(tally.sums):,} events, {tally.frames:,} frames over {tally.connections:,} connections, {kills} kills"
        ],
        problems=tally.problems,
    )


def main() -> None:
    """Run the server process."""
    folder, port, events = sys.argv[1:]
    run(_serve(Path(folder), int(port), int(events)))


if __name__ == "__main__":
    main()
