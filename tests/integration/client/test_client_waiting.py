"""Waiting for a job whatever becomes of the feed: none, late, overrun, swallowed, lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from aiohttp import web

from orchestrator.client import Client, FeedLive, FeedUnavailable, RemoteError, feed
from orchestrator.lifecycle import JobStatus

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Served = Callable[..., Awaitable[Client]]
S = JobStatus


class Pauses:
    """A clock that moves by the pauses that are made on it, each over at once."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return sum(self.taken)

    async def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


class Jobs:
    """Answers the statuses of a job one by one, the last one for ever; the last but one stays until `until` is set."""

    def __init__(self, *statuses: str, until: asyncio.Event | None = None) -> None:
        self.statuses = list(statuses)
        self.until = until
        self.asked = 0
        self.looked = asyncio.Event()

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        self.looked.set()
        held = self.until is not None and not self.until.is_set() and len(self.statuses) == 2
        status = self.statuses.pop(0) if len(self.statuses) > 1 and not held else self.statuses[0]
        body: dict[str, Any] = {"id": "j", "backend": "simulator", "submitted_at": "2026-01-01T00:00:00Z"}
        return web.json_response({**body, "status": status})


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A client of a server with a job and perhaps a feed, on a clock that does not wait."""
    async with AsyncExitStack() as stack:

        async def start(job: Jobs, events: Handler | None = None) -> Client:
            app = web.Application()
            app.router.add_get("/v0.4/jobs/j", job.answer)
            if events is not None:
                app.router.add_get("/events/v1", events)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            client = Client(f"http://{host}:{port}", "key", clock=Pauses(), rng=random.Random(7))
            return await stack.enter_async_context(client)

        yield start


def taken(client: Client) -> list[float]:
    assert isinstance(client.clock, Pauses)
    return client.clock.taken


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def test_asking_slows_down_with_the_time_a_job_stands(served: Served) -> None:
    """Pauses are about a tenth of that time, a fifth of a second to ten, with jitter; a change makes them short."""
    client = await served(Jobs(*["ready"] * 80, *["started"] * 5, "completed"))
    assert (await client.wait("j")).status is S.COMPLETED
    pauses = taken(client)
    assert len(pauses) == 85
    assert all(0.1 <= pause <= 0.2 for pause in [*pauses[:10], *pauses[80:]])
    assert all(5.0 <= pause <= 10.0 for pause in pauses[75:80])
    assert len(set(pauses)) == len(pauses)


async def test_a_proxy_that_hangs_is_no_feed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake without an answer holds no wait up; who reads events is told after a while."""
    client = await served(Jobs(*["started"] * 5, "completed"), never)
    assert (await client.wait("j", timeout_s=30)).terminal
    monkeypatch.setattr(feed, "HANDSHAKE_S", 0.01)
    with pytest.raises(FeedUnavailable, match="not answered"):
        await anext(client.events())


async def test_a_proxy_that_swallows_the_feed_is_no_feed(served: Served) -> None:
    """A socket that opens and tells nothing keeps nobody from asking."""

    async def silent(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    client = await served(Jobs(*["started"] * 5, "completed"), silent)
    assert (await client.wait("j", timeout_s=30)).terminal


async def test_an_overrun_feed_is_tried_again_and_the_job_asked_for_meanwhile(served: Served) -> None:
    """Refused for now, the feed is opened when the server said so; once it tells, nobody asks beside it."""
    done, refused = asyncio.Event(), 0
    job = Jobs("started", "completed", until=done)

    async def overrun(request: web.Request) -> web.StreamResponse:
        nonlocal refused
        if job.asked < 4 or refused < 2:
            refused += 1
            return web.Response(status=503, headers={"Retry-After": "7"})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        before = job.asked
        for number in range(20):  # at each such frame the client looks once
            job.looked.clear()
            await socket.send_str(f'{{"type":"live","cursor":"e:{number}"}}')
            await job.looked.wait()
        assert job.asked <= before + 20 + 2  # a question or two may have been on their way
        done.set()
        await socket.send_str(
            '{"type":"event","cursor":"e:9","kind":"job.completed","job_id":"j","to":"completed","at":0}'
        )
        await socket.receive()
        return socket

    client = await served(job, overrun)
    assert (await client.wait("j", timeout_s=30)).terminal
    assert refused >= 2
    assert [pause for pause in taken(client) if 7.0 <= pause <= 8.0]


async def test_a_feed_that_is_refused_for_now_is_waited_for(served: Served) -> None:
    """Who reads events waits for a server that is starting, from the first connection on; other refusals are final."""
    answers = [503, 429, 502, 101, 500]

    async def starting(request: web.Request) -> web.StreamResponse:
        if (status := answers.pop(0)) != 101:
            return web.Response(status=status, headers={"Retry-After": "7"})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('{"type":"live","cursor":"e:4"}')
        await socket.receive()
        return socket

    client = await served(Jobs("started"), starting)
    async with aclosing(client.events()) as frames:
        assert await anext(frames) == FeedLive(cursor="e:4")
    assert [pause >= 7.0 for pause in taken(client)] == [True, True, False]
    with pytest.raises(FeedUnavailable):
        await anext(client.events())


async def test_a_lost_feed_is_no_end(served: Served) -> None:
    """While the feed is away the job is asked for, and a job that is unknown by then is the error it is."""

    async def brief(request: web.Request) -> web.StreamResponse:
        if job.asked > 3:
            await never(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('{"type":"live","cursor":"e:1"}')
        await socket.close(code=1001)
        return socket

    job = Jobs(*["started"] * 6, "completed")
    client = await served(job, brief)
    assert (await client.wait("j", timeout_s=30)).terminal
    with pytest.raises(RemoteError) as unknown:
        await client.wait("other", timeout_s=30)
    assert unknown.value.status == 404
