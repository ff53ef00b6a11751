"""The feed beside plain aiohttp: how many deliveries a second, and how long after its commit an event arrives."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from aiohttp import web

from orchestrator.api.feed.frames import WEBSOCKET, Frames, LiveFrame, encode
from orchestrator.api.server import serve
from orchestrator.bench.http import LoadError
from orchestrator.bench.workload import BACKEND, REQUEST, NoopAdapter
from orchestrator.events import Event, EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.service import Orchestrator
from orchestrator.settings import DispatchSettings, ServerSettings, Settings
from orchestrator.storage.abc import Committed

SUBSCRIBERS: Final = (1, 100, 1_000)
#: Events of one commit: those of five jobs. At such rates the writer finds more than that waiting.
COMMIT: Final = 20
#: Bursts for each round of the bench.
ROUNDS: Final = 4
#: Events that are sent before all subscribers have to have them, and deliveries of one burst at most.
_BURST: Final = 2_000
_DELIVERIES: Final = 100_000
_PATIENCE_S: Final = 60.0


class Fanout(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries a second to so many subscribers, medians over bursts; ours, plain aiohttp's, and ours / plain."""

    subscribers: int
    feed: float
    plain: float
    ratio: float


class FeedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        after_commit_ms: From the commit of a submit to the arrival of its event in another process, idle server.
        after_submit_ms: The same, from the call of submit.
    """

    fanout: list[Fanout]
    after_commit_ms: dict[str, float]
    after_submit_ms: dict[str, float]


async def measure(folder: Path, rounds: int, tell: Callable[[str], None]) -> FeedReport:
    """Measure; `folder` takes the store of the latencies, `rounds` is how many bursts and tens of submits there are."""
    fanout = []
    for subscribers in SUBSCRIBERS:
        tell(f"fan-out to {subscribers:,} subscribers")
        fanout.append(await _fanout(subscribers, rounds))
    tell("latency")
    after_submit, after_commit = await _latencies(folder, 10 * rounds)
    return FeedReport(
        fanout=fanout, after_commit_ms=_percentiles(after_commit), after_submit_ms=_percentiles(after_submit)
    )


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"p50": median(ordered), "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]}


class _Readers:
    """The process of the subscribers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None  # noqa: S101 - asked for as a pipe
        assert process.stdout is not None  # noqa: S101
        self._stdin, self._stdout = process.stdin, process.stdout

    async def line(self) -> str:
        async with asyncio.timeout(_PATIENCE_S):
            text = (await self._stdout.readline()).decode().strip()
        if not text:
            raise LoadError("the subscribers gave up")
        return text

    def expect(self, side: int, size: int) -> None:
        self._stdin.write(b"%d %d\n" % (side, size))

    async def got(self) -> float:
        """When all had what was expected."""
        return float(await self.line())


@asynccontextmanager
async def _readers(count: int, *sides: tuple[str, str]) -> AsyncIterator[_Readers]:
    pipe = asyncio.subprocess.PIPE
    arguments = [argument for side in sides for argument in side]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator.bench.feed_readers", str(count), *arguments, stdin=pipe, stdout=pipe
    )
    try:
        readers = _Readers(process)
        await readers.line()
        yield readers
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# -- fan-out ------------------------------------------------------------------------------


async def _fanout(subscribers: int, rounds: int) -> Fanout:
    # Here it is the plain server beside it that holds the loop, from the package of the adapter.
    settings = Settings(
        server=ServerSettings(max_connections=10_000, max_connections_per_address=10_000),
        dispatch=DispatchSettings(blocked_ms=0),
    )
    async with AsyncExitStack() as stack:
        orchestrator = await stack.enter_async_context(Orchestrator.open(settings=settings, adapters=[NoopAdapter()]))
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id, "bench")
        bound = await stack.enter_async_context(serve(orchestrator, "127.0.0.1", 0))
        epoch, log = orchestrator.store.epoch, orchestrator.event_log
        live = encode(LiveFrame(cursor=log.last_cursor()))
        plain = _Plain(live.decode())
        plain_url = await stack.enter_async_context(plain.serve())
        header = f"Authorization: apiKey {key}"
        sides = (f"{bound.url}/events/v1", header), (plain_url, header)
        readers = await stack.enter_async_context(_readers(subscribers, *sides))
        number = max(COMMIT, min(_BURST, _DELIVERIES // subscribers) // COMMIT * COMMIT)

        async def burst(side: int, send: Callable[[Sequence[Event], Sequence[bytes]], Awaitable[None]]) -> float:
            events = _events(orchestrator.project.id, log.newest, number)
            frames = [Frames(epoch).event(event) for event in events]
            readers.expect(side, sum(len(WEBSOCKET.frame(frame)) for frame in frames))
            begun = time.monotonic()
            for first in range(0, number, COMMIT):
                await send(events[first : first + COMMIT], frames[first : first + COMMIT])
                await asyncio.sleep(0)
            return number * subscribers / (await readers.got() - begun)

        async def commit(events: Sequence[Event], _: Sequence[bytes]) -> None:
            orchestrator.bus.publish([Committed(event, None) for event in events])

        for side in range(2):  # the first frame tells that the feed is live
            readers.expect(side, len(WEBSOCKET.frame(live)))
            await readers.got()
        pairs = [(await burst(0, commit), await burst(1, plain.send)) for _ in range(rounds + 1)][1:]
    ours, theirs = zip(*pairs, strict=True)
    ratio = median(mine / other for mine, other in pairs)
    return Fanout(subscribers=subscribers, feed=median(ours), plain=median(theirs), ratio=ratio)


def _events(project_id: str, after: int, number: int) -> list[Event]:
    """Events as the log has them for jobs that ran."""
    return [
        Event(
            sequence=after + index,
            kind=EventKind.JOB_COMPLETED,
            at=1_767_225_600_000,
            job_id=f"0197c3a2-0000-7000-8000-{index:012d}",
            project_id=project_id,
            backend=BACKEND,
            attempt=1,
            before=JobStatus.STARTED,
            after=JobStatus.COMPLETED,
            data=None,
        )
        for index in range(1, number + 1)
    ]


class _Plain:
    """What one writes with aiohttp alone: a set of websockets, and a loop over them for each message."""

    def __init__(self, greeting: str) -> None:
        self._greeting = greeting
        self._sockets: list[web.WebSocketResponse] = []

    async def _handler(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.send_str(self._greeting)
        self._sockets.append(socket)
        async for _ in socket:
            pass
        return socket

    async def send(self, _: Sequence[Event], frames: Sequence[bytes]) -> None:
        for frame in frames:
            text = frame.decode()
            for socket in self._sockets:
                await socket.send_str(text)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/", self._handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            yield "http://{}:{}/".format(*runner.addresses[0])
        finally:
            await runner.cleanup()


# -- latency ------------------------------------------------------------------------------


async def _latencies(folder: Path, submits: int) -> tuple[list[float], list[float]]:
    """Milliseconds from submit and from commit to the arrival of ``job.submitted``, one job at a time."""
    after_submit, after_commit = [], []
    committed = 0.0
    size = 0

    def notice(entries: Sequence[Committed]) -> None:
        nonlocal committed, size
        for event, _ in entries:
            if event.kind is EventKind.JOB_SUBMITTED:
                committed = time.monotonic()
                size = len(WEBSOCKET.frame(frames.event(event)))

    async with AsyncExitStack() as stack:
        orchestrator = await stack.enter_async_context(Orchestrator.open(folder / "feed", adapters=[NoopAdapter()]))
        frames = Frames(orchestrator.store.epoch)
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id, "bench")
        bound = await stack.enter_async_context(serve(orchestrator, "127.0.0.1", 0))
        url = f"{bound.url}/events/v1?kind=job.submitted"
        live = encode(LiveFrame(cursor=orchestrator.last_cursor()))
        readers = await stack.enter_async_context(_readers(1, (url, f"Authorization: apiKey {key}")))
        readers.expect(0, len(WEBSOCKET.frame(live)))
        await readers.got()
        stack.callback(orchestrator.bus.subscribe(notice))
        for _ in range(submits + 10):
            readers.expect(0, 1)
            await asyncio.sleep(0.01)
            begun = time.monotonic()
            job = await orchestrator.submit(REQUEST)
            arrived = await readers.got()
            after_submit.append(1e3 * (arrived - begun))
            after_commit.append(1e3 * (arrived - committed))
            readers.expect(0, size - 1)
            await readers.got()
            await orchestrator.wait(job.id)
    return after_submit[10:], after_commit[10:]
