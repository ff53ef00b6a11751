"""The client without await, called where a loop runs already, as in a notebook."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

import pytest

from orchestrator import Orchestrator
from orchestrator.api.server import serve
from orchestrator.client import FeedEvent, RemoteError, SyncClient, Unreachable
from orchestrator.testing.adapters import FLIP, ScriptedAdapter

T = TypeVar("T")
#: Makes a client of the server.
Connect = Callable[[], SyncClient]


@pytest.fixture
async def adapter() -> ScriptedAdapter:
    """Runs nothing."""
    return ScriptedAdapter("simulator")


@pytest.fixture
async def connect(adapter: ScriptedAdapter) -> AsyncIterator[Connect]:
    """A server of its own, on the loop of the test."""
    async with AsyncExitStack() as stack:
        orchestrator = await stack.enter_async_context(Orchestrator.open(adapters=[adapter]))
        _, key = await orchestrator.accounts.add_key(orchestrator.project.id)
        bound = await stack.enter_async_context(serve(orchestrator, "127.0.0.1", 0))
        yield lambda: SyncClient(bound.url, key)


async def cell(work: Callable[[], T]) -> T:
    """Call it as a notebook would: in a thread whose loop is running."""

    async def running() -> T:
        assert asyncio.get_running_loop().is_running()
        return work()

    async with asyncio.timeout(30):
        return await asyncio.to_thread(asyncio.run, running())


def threads() -> list[threading.Thread]:
    """Those of clients."""
    return [thread for thread in threading.enumerate() if thread.name == "orchestrator-client"]


async def test_a_notebook_cell_submits_and_reads(connect: Connect) -> None:
    """All of a job's life without await, under a running loop; the thread ends with the block."""

    def work() -> list[str]:
        with connect() as client:
            first, second = client.submit_many([FLIP, FLIP], shots=7)
            assert client.result(first, timeout_s=20).probabilities == {0: 1.0}
            assert client.wait(second, timeout_s=20).terminal
            assert len(client.results(client.submit([FLIP, FLIP]), timeout_s=20)) == 2
            assert [backend.backend for backend in client.backends()] == ["simulator"]
            assert {first, second} <= {job.id for job in client.jobs().jobs}
            client.cancel([client.submit(FLIP, idempotency_key="again")])
            assert client.get(client.submit(FLIP, idempotency_key="again")).shots == 100
            kinds = []
            for frame in client.events("earliest", jobs=[first], kinds=["job.*"]):
                if isinstance(frame, FeedEvent):
                    kinds.append(frame.kind)
                    if frame.kind == "job.completed":
                        break
            return kinds

    assert (await cell(work))[::3] == ["job.submitted", "job.completed"]
    assert threads() == []


async def test_errors_are_those_of_the_client(connect: Connect, adapter: ScriptedAdapter) -> None:
    """Refusals and timeouts arrive; a waiter that gives up does not cancel the job."""
    adapter.hold()

    def work() -> None:
        with connect() as client:
            with pytest.raises(RemoteError):
                client.submit(FLIP, backend="nowhere")
            held = client.submit(FLIP)
            with pytest.raises(TimeoutError):
                client.result(held, timeout_s=0.05)
            assert not client.get(held).terminal

    await cell(work)
    assert adapter.canceled == []
    adapter.release()


async def test_a_closed_client_says_so(connect: Connect) -> None:
    """Closing twice is fine; a call after it is an error, not a wait for ever."""

    def work() -> None:
        client = connect()
        frames = client.events("earliest")
        next(frames)
        client.close()
        client.close()
        frames.close()  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match="closed"):
            client.jobs()

    await cell(work)
    assert threads() == []


async def test_a_forgotten_client_ends_its_thread(connect: Connect) -> None:
    """Nobody has to close it for its thread to go."""

    def work() -> threading.Thread:
        client = connect()
        assert client.jobs().jobs == []
        (thread,) = threads()
        assert thread.daemon
        return thread

    thread = await cell(work)
    gc.collect()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def test_closing_releases_waiting_threads(connect: Connect, adapter: ScriptedAdapter) -> None:
    """A call under way in another thread ends when the client is closed."""
    adapter.hold()
    client = await cell(connect)
    job_id = await asyncio.to_thread(client.submit, FLIP)
    waiting = asyncio.create_task(asyncio.to_thread(client.wait, job_id))
    await adapter.until_seen(1)
    await asyncio.to_thread(client.close)
    with pytest.raises(RuntimeError, match="closed"):
        await asyncio.wait_for(waiting, 10)
    adapter.release()


def test_nobody_there_is_an_error() -> None:
    """An address where no one listens is told as the asynchronous client tells it."""
    with SyncClient("http://127.0.0.1:9", "key") as client, pytest.raises(Unreachable):
        client.jobs()
