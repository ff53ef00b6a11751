"""What the client does about servers that lose answers, and clouds that know only the vendor's contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from aiohttp import web

from orchestrator import Circuit, Gate
from orchestrator.client import (
    Client,
    FeedLive,
    FeedPlace,
    FeedUnavailable,
    OutcomeUnknown,
    PartlySubmitted,
    RemoteError,
    Unreachable,
)
from orchestrator.errors import JobFailed

BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Start = Callable[..., Awaitable[str]]


class Pauses:
    """A clock whose pauses are over at once, and counted."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers of a few routes; answers their address."""
    async with AsyncExitStack() as stack:

        async def serve(*routes: tuple[str, str, Handler]) -> str:
            app = web.Application()
            app.add_routes([web.route(method, path, handler) for method, path, handler in routes])
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            return f"http://{host}:{port}"

        yield serve


class Cloud:
    """A cloud of v0.4 routes alone: no feed. Its answers to `POST` are told to it one by one, then they are good.

    Args:
        keyed: It knows idempotency keys, as the schema of its events gives away.
    """

    def __init__(self, *answers: int, keyed: bool = True) -> None:
        self.keyed = keyed
        self.asked_for_schema = 0
        self.answers = list(answers)
        self.keys: list[str] = []
        self.bodies: list[bytes] = []
        self.asked = 0
        self.job: dict[str, Any] = {}

    def routes(self) -> list[tuple[str, str, Handler]]:
        base = "/v0.4/jobs"
        return [
            ("POST", base, self.post),
            ("GET", f"{base}/j", self.get),
            ("GET", f"{base}/j/results/{{kind}}", self.results),
            ("GET", "/events/v1/schema", self.schema),
        ]

    async def schema(self, _: web.Request) -> web.Response:
        self.asked_for_schema += 1
        if self.asked_for_schema == 1:
            return web.Response(status=503)
        return web.json_response(
            {"$id": "urn:ion-orchestrator:events:v1"} if self.keyed else {"error": "Not Found"},
            status=200 if self.keyed else 404,
        )

    async def post(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers["Idempotency-Key"])
        self.bodies.append(await request.read())
        match self.answers.pop(0) if self.answers else 201:
            case 0:  # the connection is lost before the answer
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case 201:
                return web.json_response({"id": f"job-{len(self.keys)}"}, status=201)
            case 409:
                return web.json_response({"code": "idempotency_in_progress", "message": "wait"}, status=409)
            case status:
                return web.json_response({"code": "no", "message": "refused"}, status=status)

    async def get(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.asked == 3:
            return web.Response(status=502, text="<html>bad gateway</html>")
        times = {"submitted_at": "2026-01-01T00:00:00Z"}
        status = "started" if self.asked < 6 else "completed"
        results: dict[str, Any] = {"results": {"probabilities": {}, "histogram": {}}} if status == "completed" else {}
        return web.json_response({"id": "j", "backend": "simulator", "status": status, **times, **results, **self.job})

    async def results(self, request: web.Request) -> web.Response:
        if request.match_info["kind"] == "probabilities":
            return web.json_response({"0": 0.5, "3": 0.5})
        return web.json_response({"error": "Not Found Error", "message": "no shots"}, status=404)


async def test_a_lost_answer_is_asked_for_again_under_the_same_key(start: Start) -> None:
    """Cut connections, a 503 and `in progress` are tried again, each time with the same key and the same bytes."""
    cloud, clock = Cloud(0, 503, 409), Pauses()
    async with Client(await start(*cloud.routes()), "key", clock=clock) as client:
        assert await client.submit(BELL) == "job-4"
        assert len(set(cloud.keys)) == len(set(cloud.bodies)) == 1
        assert len(clock.taken) == 4
        assert cloud.asked_for_schema == 2  # once, and once more after a refusal that passes
        await client.submit(BELL)
        assert len(set(cloud.keys)) == 2  # another submit is another job


@pytest.mark.parametrize("lost", [0, 502, 504])
async def test_nothing_is_bought_twice(start: Start, lost: int) -> None:
    """Where no keys are known a lost answer ends a submit with an error that says so; a refusal or a server that was
    not there does not. Once bitten, it is known.
    """
    cloud, clock = Cloud(503, 429, lost, lost, 201, keyed=False), Pauses()
    async with Client(await start(*cloud.routes()), "key", clock=clock) as client:
        for posts in (3, 4):
            with pytest.raises(OutcomeUnknown, match="newest jobs"):
                await client.submit(BELL)
            assert len(cloud.keys) == posts
        assert cloud.asked_for_schema == 2
        assert await client.submit(BELL) == "job-5"


async def test_a_server_that_is_not_there_yet_is_tried_again(start: Start, free_tcp_port: int) -> None:
    """Nothing was sent, so nothing is asked about keys."""
    clock = Pauses()
    async with Client(f"http://127.0.0.1:{free_tcp_port}", "key", clock=clock, attempts=3) as client:
        with pytest.raises(Unreachable, match="no server") as absent:
            await client.submit(BELL)
    assert not absent.value.sent
    assert len(clock.taken) == 2


@pytest.mark.parametrize(
    ("status", "asked", "least"),
    [
        (503, "7", 7.0),
        (429, "Thu, 01 Jan 1970 00:00:09 GMT", 9.0),
        (429, "86400", 120.0),
        (503, "soon", 0.0),
        (502, "7", 0.0),
    ],
)
async def test_a_server_says_when_to_come_again(start: Start, status: int, asked: str, least: float) -> None:
    """`Retry-After` of a 429 or 503 is waited for, up to two minutes, and the jitter comes after it."""
    clock, answers = Pauses(), [status]

    async def backends(_: web.Request) -> web.Response:
        if not answers:
            return web.json_response([])
        body = {"code": "rate_limited", "message": "later"}
        return web.json_response(body, status=answers.pop(), headers={"Retry-After": asked})

    async with Client(await start(("GET", "/v0.4/backends", backends)), "key", clock=clock) as client:
        assert await client.persist(client.backends) == []
    (taken,) = clock.taken
    assert least <= taken <= least + 0.4


async def test_a_feed_that_is_overrun_says_when_to_come_again(start: Start) -> None:
    """On the way back into the feed a 429 is waited for, not taken for a refusal."""
    clock, answers = Pauses(), [101, 429, 503, 101]

    async def feed(request: web.Request) -> web.StreamResponse:
        if (status := answers.pop(0)) != 101:
            return web.Response(status=status, headers={"Retry-After": "30"})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('{"type":"live","cursor":"e:4"}')
        await socket.close(code=1001)
        return socket

    url = await start(("GET", "/events/v1", feed))
    async with Client(url, "key", clock=clock) as client, aclosing(client.events()) as frames:
        assert [await anext(frames), await anext(frames)] == [FeedLive(cursor="e:4")] * 2
    assert [30.0 <= taken <= 32.0 for taken in clock.taken] == [False, True, True]


async def test_tries_come_to_an_end_and_refusals_are_none(start: Start) -> None:
    """A submit gives up after its attempts; one that was refused is not repeated."""
    lost = Cloud(0, 0, 0, 0)
    async with Client(await start(*lost.routes()), "key", clock=Pauses(), attempts=3) as client:
        with pytest.raises(Unreachable):
            await client.submit(BELL)
        assert len(lost.keys) == 3
    refusing = Cloud(400)
    async with Client(await start(*refusing.routes()), "key", clock=Pauses()) as client:
        with pytest.raises(RemoteError, match="refused"):
            await client.submit(BELL)
        assert len(refusing.keys) == 1


async def test_many_are_submitted_under_keys_of_their_place(start: Start) -> None:
    """Ids come in the order of the work; the keys are made of the caller's, so that a repeated call repeats them."""
    cloud = Cloud()
    async with Client(await start(*cloud.routes()), "key") as client:
        ids = await client.submit_many([BELL] * 20, idempotency_key="batch", shots=7)
        assert [cloud.keys[int(job_id.removeprefix("job-")) - 1] for job_id in ids] == [f"batch:{n}" for n in range(20)]
        assert await client.submit_many([]) == []
        cloud.keys.clear()
        await client.submit_many([BELL] * 20)
        assert len(set(cloud.keys)) == 20


async def test_a_refusal_among_many_tells_what_was_made(start: Start) -> None:
    """After a refusal no more is begun, and the caller learns which jobs there are."""
    cloud = Cloud(201, 400)
    async with Client(await start(*cloud.routes()), "key") as client:
        with pytest.raises(PartlySubmitted) as partly:
            await client.submit_many([BELL] * 50)
    assert isinstance(partly.value.__cause__, RemoteError)
    made = [job_id for job_id in partly.value.job_ids if job_id is not None]
    assert len(partly.value.job_ids) == 50
    assert 1 <= len(made) == len(cloud.keys) - 1 < 20


async def test_a_cloud_without_a_feed_is_polled(start: Start) -> None:
    """Results come from any cloud of the vendor's contract, also past a bad gateway; exact ones have no histogram."""
    cloud = Cloud()
    async with Client(f"{await start(*cloud.routes())}/v0.4", "key", clock=Pauses()) as client:
        result = await client.result("j", timeout_s=30)
    assert (result.probabilities, result.counts, result.qubits) == ({0: 0.5, 3: 0.5}, None, 2)


async def test_a_failure_without_a_reason_is_a_failure(start: Start) -> None:
    """A cloud that does not say why a job failed still makes it an error."""
    cloud = Cloud()
    cloud.job = {"status": "failed", "failure": None}
    async with Client(await start(*cloud.routes()), "key", clock=Pauses()) as client:
        with pytest.raises(JobFailed, match="no reason"):
            await client.result("j", timeout_s=30)


async def test_one_timeout_is_for_all(start: Start) -> None:
    """The limit of `result` holds while results are read, not only while the job runs."""
    cloud = Cloud()
    cloud.job = {"status": "completed", "results": {"probabilities": {}}}

    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    post, get, *_ = cloud.routes()
    async with Client(await start(post, get, ("GET", "/v0.4/jobs/j/results/{kind}", never)), "key") as client:
        with pytest.raises(TimeoutError):
            await client.result("j", timeout_s=0.1)


async def test_a_feed_that_expires_while_waiting_is_opened_anew(start: Start) -> None:
    """Waiting outlives retention and frames it does not know; it never ends before the job."""
    cloud, cursors = Cloud(), []

    async def feed(request: web.Request) -> web.StreamResponse:
        cursors.append(request.query["cursor"])
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('{"type":"weather"}')
        await socket.send_str('{"type":"gap","cursor":"e:9","snapshot":{}}')
        await socket.close(code=4410, message=b"e:9")
        return socket

    async with Client(await start(*cloud.routes(), ("GET", "/events/v1", feed)), "key", clock=Pauses()) as client:
        assert (await client.wait("j", timeout_s=30)).terminal
    assert cursors
    assert set(cursors) == {"latest"}


async def test_places_move_no_cursor_and_refusals_have_reasons(start: Start) -> None:
    """After a place in line the client comes back with the cursor before it; a refusal says why."""
    asked: list[dict[str, str]] = []

    async def feed(request: web.Request) -> web.StreamResponse:
        asked.append(dict(request.query))
        if len(asked) > 2:
            return web.json_response({"code": "invalid_cursor", "message": "of another log"}, status=400)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('{"type":"live","cursor":"e:4"}')
        await socket.send_str('{"type":"queue","job_id":"j","backend":"b","position":1}')
        await socket.close(code=1001)
        return socket

    url = await start(("GET", "/events/v1", feed))
    async with Client(url, "key", clock=Pauses()) as client, aclosing(client.events(places=True)) as frames:
        seen = [await anext(frames) for _ in range(4)]
        with pytest.raises(FeedUnavailable, match="of another log") as refused:
            await anext(frames)
    assert (refused.value.status, refused.value.code) == (400, "invalid_cursor")
    assert isinstance(seen[1], FeedPlace)
    assert asked[:2] == [{"cursor": "latest", "queue": "true"}, {"cursor": "e:4", "queue": "true"}]
