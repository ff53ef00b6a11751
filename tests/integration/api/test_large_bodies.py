"""Large bodies: taken when they are a job, refused when they are a flood, and the loop moves all the while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from orchestrator.api.strict import MAX_BODY
from tests.contract.harness import BELL, Client, Service

#: Seconds of processor time; on a quiet machine that is wall time. Work on the loop itself would stop it for most of
#: the request's.
TOLERATED_S = 0.1
GATE = b'{"gate":"ms","targets":[0,1],"phases":[0.1,0.2]}'


def filled(opening: bytes, unit: bytes, closing: bytes) -> bytes:
    """As much of `unit` as one body may hold."""
    count = (MAX_BODY - len(opening) - len(closing)) // len(unit)
    return opening + (unit * count).rstrip(b",") + closing


def job(gates: bytes) -> bytes:
    return b'{"type":"ionq.circuit.v1","backend":"simulator","input":{"gateset":"native","circuit":[' + gates + b"]}}"


@asynccontextmanager
async def lag() -> AsyncIterator[Callable[[], float]]:
    """The most processor time (seconds) that the process spent between two turns of its event loop.

    What other processes take does not count, and what threads do while the loop turns does neither.
    """
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            before = time.process_time()
            await asyncio.sleep(0.002)
            worst = max(worst, time.process_time() - before)

    ticking = asyncio.create_task(tick())
    try:
        yield lambda: worst
    finally:
        ticking.cancel()


async def test_the_largest_job_is_taken(service: Service, client: Client) -> None:
    """150,000 gates in one circuit."""
    before = time.process_time()
    async with lag() as worst:
        status, body = await client.ask("POST", "/v0.4/jobs", job(b",".join([GATE] * 150_000)))
    assert status == 201, body
    assert worst() < max(TOLERATED_S, (time.process_time() - before) / 2)
    assert (await service.orchestrator.get(body["id"])).spec.stats.gates_2q == 150_000


FLOODS = {
    "gates": (filled(b'{"input":{"circuit":[', GATE + b",", b"]}}"), 400),
    "short gates": (filled(b'{"input":{"circuit":[', b'{"gate":"x","target":0},', b"]}}"), 400),
    "numbers": (filled(b'{"input":[', b"1,", b"]}"), 400),
    "lists": (filled(b'{"input":[', b"[],", b"]}"), 400),
    "members": (filled(b'{"a":1,', b'"b":1,', b"}"), 400),
    "text": (filled(b'{"input":"', b"x", b'"}'), 400),
    "escapes": (filled(b'{"input":"', b"\\u00e9", b'"}'), 400),
    "open": (b"[" * MAX_BODY, 400),
    "blank": (b" " * MAX_BODY, 400),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_floods_are_refused_while_the_loop_moves(client: Client, name: str) -> None:
    """Ten megabytes of anything that is no job."""
    body, status = FLOODS[name]
    before = time.process_time()
    async with lag() as worst:
        answer = await client.ask("POST", "/v0.4/jobs", body)
    assert answer[0] == status, answer
    assert worst() < max(TOLERATED_S, (time.process_time() - before) / 2)


async def test_many_large_bodies_at_once(client: Client) -> None:
    """Two are decoded at a time and the rest wait; small requests go on."""
    large = job(b",".join([GATE] * 20_000))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.ask("POST", "/v0.4/jobs", large)) for _ in range(6)]
        before = time.perf_counter()
        assert (await client.ask("POST", "/v0.4/jobs", msgspec.json.encode(BELL)))[0] == 201
        small = time.perf_counter() - before
    assert [task.result()[0] for task in tasks] == [201] * 6
    assert small < time.perf_counter() - before
