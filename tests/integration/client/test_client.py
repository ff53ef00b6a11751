"""The client, against a real server and against one that misbehaves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from itertools import pairwise

import msgspec
import pytest
from aiohttp import web

from orchestrator import Circuit, Gate, JobStatus, Noise, Orchestrator
from orchestrator.api.server import serve
from orchestrator.backends.abc import Adapter, Attempt, Capabilities, NoiseModel
from orchestrator.client import Client, FeedEvent, FeedFrame, FeedLive, FeedUnavailable, RemoteError, Unreachable
from orchestrator.errors import CursorExpired, ExecutionError, JobCanceled, JobFailed, ResultNotReady
from orchestrator.model import JobRequest, Result

BELL = Circuit(qubits=2, gates=(Gate("h", (0,)), Gate("x", (1,), (0,))), name="bell")
GONE = "0197c3a2-4f10-7e6b-8a2d-5d7c1b0e9f31"


class Fixed(Adapter):
    """Serves `simulator`: exact halves, or counts with a noise model; jobs named ``fail`` and ``hold`` do so."""

    name = "fixed"

    def capabilities(self) -> Sequence[Capabilities]:
        models = {"ideal": NoiseModel(qubits=29), "aria-1": NoiseModel(qubits=25)}
        return [Capabilities(backend="simulator", qubits=29, noise_models=models, concurrency=8)]

    async def run(self, attempt: Attempt) -> Result:
        spec = attempt.job.spec
        if spec.name == "fail":
            raise ExecutionError("SimulationError", "as it was told")
        if spec.name == "hold":
            await asyncio.Event().wait()
        high = (1 << attempt.circuit.qubits) - 1
        counts = {0: spec.shots // 2, high: spec.shots - spec.shots // 2} if spec.noise else None
        return Result(qubits=attempt.circuit.qubits, probabilities={0: 0.5, high: 0.5}, counts=counts)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of a server of its own."""
    async with AsyncExitStack() as stack:
        orchestrator = await stack.enter_async_context(Orchestrator.open(adapters=[Fixed()]))
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id)
        bound = await stack.enter_async_context(serve(orchestrator, "127.0.0.1", 0))
        yield await stack.enter_async_context(Client(f"{bound.url}/v0.4", key))


async def test_a_circuit_goes_in_and_its_result_comes_out(client: Client) -> None:
    """Exact results have no counts, sampled ones sum to the shots."""
    exact = await client.result(await client.submit(BELL), timeout_s=30)
    assert exact == Result(qubits=2, probabilities={0: 0.5, 3: 0.5}, execution_ms=exact.execution_ms)
    request = JobRequest(backend="simulator", circuits=(BELL,), shots=10, noise=Noise(model="aria-1", seed=1))
    sampled = await client.result(await client.submit(request), timeout_s=30)
    assert sampled.counts == {0: 5, 3: 5}


async def test_several_circuits_are_one_job_with_results_in_order(client: Client) -> None:
    """A parent's results are those of its circuits."""
    circuits = [Circuit(qubits=width) for width in (1, 3, 2)]
    job_id = await client.submit(circuits, name="family", shots=7)
    results = await client.results(job_id, timeout_s=30)
    assert [max(result.probabilities) for result in results] == [1, 7, 3]
    job = await client.get(job_id)
    assert (job.name, job.shots, len(job.child_job_ids or ())) == ("family", 7, 3)


async def test_an_idempotency_key_makes_one_job(client: Client) -> None:
    """The same key and work answer the first job; other work is refused."""
    first = await client.submit(BELL, idempotency_key="k")
    assert await client.submit(BELL, idempotency_key="k") == first
    with pytest.raises(RemoteError) as refused:
        await client.submit(BELL, idempotency_key="k", shots=7)
    assert refused.value.code == "idempotency_mismatch"


async def test_jobs_that_end_without_a_result_say_so(client: Client) -> None:
    """Failed, canceled and dry runs are told apart; a job that does not end is a timeout."""
    with pytest.raises(JobFailed, match="SimulationError: as it was told"):
        await client.result(await client.submit(BELL, name="fail"), timeout_s=30)
    held = await client.submit(BELL, name="hold")
    with pytest.raises(TimeoutError):
        await client.wait(held, timeout_s=0.05)
    await client.cancel([held])
    with pytest.raises(JobCanceled):
        await client.result(held, timeout_s=30)
    with pytest.raises(ResultNotReady):
        await client.result(await client.submit(BELL, dry_run=True), timeout_s=30)


async def test_jobs_and_backends_are_listed(client: Client) -> None:
    """Pages follow each other; a status chooses."""
    ids = [await client.submit(BELL) for _ in range(3)]
    for job_id in ids:
        await client.wait(job_id, timeout_s=30)
    page = await client.jobs(limit=2, status="completed")
    rest = await client.jobs(limit=2, status="completed", after=page.next)
    assert [job.id for job in (*page.jobs, *rest.jobs)] == ids[::-1]
    assert [backend.backend for backend in await client.backends()] == ["simulator"]


async def test_refusals_carry_code_and_member(client: Client) -> None:
    """Unknown jobs, bad members and bad keys are errors with the server's code."""
    with pytest.raises(RemoteError) as unknown:
        await client.get(GONE)
    assert (unknown.value.status, unknown.value.code) == (404, "not_found")
    with pytest.raises(RemoteError, match=r"\(backend\)"):
        await client.submit(BELL, backend="nowhere")
    async with Client(client.root, "wrong") as stranger:
        with pytest.raises(RemoteError) as closed:
            await stranger.jobs()
        assert closed.value.code == "unauthorized"
        with pytest.raises(FeedUnavailable):
            await anext(stranger.events())


async def test_a_server_that_was_never_there_is_an_error(unused_tcp_port: int) -> None:
    """Neither requests nor the feed try for ever."""
    async with Client(f"http://127.0.0.1:{unused_tcp_port}", "key") as client:
        with pytest.raises(Unreachable):
            await client.jobs()
        with pytest.raises(Unreachable):
            await anext(client.events())


async def test_events_come_in_order_from_history_to_now(client: Client) -> None:
    """From the earliest event on: history, the sign that it is through, then what happens."""
    done = await client.submit(BELL)
    await client.wait(done, timeout_s=30)
    seen: list[FeedFrame] = []
    async with aclosing(client.events("earliest")) as frames, asyncio.timeout(30):
        later = None
        async for frame in frames:
            seen.append(frame)
            if isinstance(frame, FeedLive):
                later = await client.submit(BELL)
            if isinstance(frame, FeedEvent) and frame.job_id == later and frame.kind == "job.completed":
                break
    events = [frame for frame in seen if isinstance(frame, FeedEvent)]
    for job_id in (done, later):
        steps = [event for event in events if event.job_id == job_id]
        assert [step.after for step in steps] == [
            JobStatus.SUBMITTED,
            JobStatus.READY,
            JobStatus.STARTED,
            JobStatus.COMPLETED,
        ]
        assert all(one.after is two.before for one, two in pairwise(steps))


# -- a server that misbehaves -------------------------------------------------------------


class Pauses:
    """A clock whose pauses are over at once, and known."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def stub() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Starts servers made of single routes."""
    async with AsyncExitStack() as stack:

        async def start(**routes: Handler) -> str:
            app = web.Application()
            paths = {"feed": "/events/v1", "job": "/v0.4/jobs/{id}"}
            app.add_routes([web.get(paths[name], handler) for name, handler in routes.items()])
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            return f"http://{host}:{port}"

        yield start


def frame(number: int) -> str:
    """The frame of an event."""
    return msgspec.json.encode({"type": "event", "cursor": f"e:{number}", "kind": "job.progress", "at": 0}).decode()


async def test_a_lost_feed_goes_on_where_it_stood(stub: Callable[..., Awaitable[str]]) -> None:
    """After closes, cut connections and a 503 the client comes back with its last cursor, and pauses with jitter."""
    cursors: list[str] = []

    async def feed(request: web.Request) -> web.StreamResponse:
        cursors.append(request.query["cursor"])
        turn = len(cursors)
        if turn in {3, 4, 5}:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        first = 1 if turn == 1 else int(cursors[-1].removeprefix("e:")) + 1
        for number in (first, first + 1):
            await socket.send_str(frame(number))
        if turn == 2 and request.transport is not None:
            await socket.close(code=4408, message=cursors[-1].encode())
        await socket.close(code=1001)
        return socket

    clock = Pauses()
    async with Client(await stub(feed=feed), "key", clock=clock, rng=random.Random(7)) as client:
        frames = client.events("earliest")
        async with aclosing(frames), asyncio.timeout(30):
            seen = [told.cursor for _ in range(6) if isinstance(told := await anext(frames), FeedEvent)]
    assert seen == [f"e:{number}" for number in range(1, 7)]
    assert cursors == ["earliest", "e:2", "e:4", "e:4", "e:4", "e:4"]
    assert len(clock.taken) == 5
    assert all(0 <= pause <= 0.2 * 2 ** (step + 1) for step, pause in enumerate(clock.taken[1:]))
    assert len(set(clock.taken)) == len(clock.taken)


@pytest.mark.parametrize(("code", "error"), [(4401, FeedUnavailable), (4410, CursorExpired)])
async def test_an_end_for_good_is_an_error(
    stub: Callable[..., Awaitable[str]], code: int, error: type[Exception]
) -> None:
    """A revoked key and an expired cursor end the stream; the latter tells where to go on."""

    async def feed(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close(code=code, message=b"e:9")
        return socket

    async with Client(await stub(feed=feed), "key", clock=Pauses()) as client:
        with pytest.raises(error) as ended:
            await anext(client.events())
    if isinstance(ended.value, CursorExpired):
        assert ended.value.resume == "e:9"


async def test_answers_that_are_none_are_errors(stub: Callable[..., Awaitable[str]]) -> None:
    """A page of somebody else's proxy is no answer."""

    async def job(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>bad gateway</html>")

    async with Client(await stub(job=job), "key") as client:
        with pytest.raises(RemoteError, match="HTTP 502") as refused:
            await client.get(GONE)
        assert refused.value.code == "unexpected_answer"


@pytest.fixture
def unused_tcp_port() -> int:
    """A port on which nobody listens."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
