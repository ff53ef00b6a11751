"""Ends of jobs that no attempt in hand tells an adapter of."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import aclosing

import anyio

from orchestrator.backends.abc import Capabilities, Emit, Ready
from orchestrator.errors import StorageError
from orchestrator.model import Job
from orchestrator.service import Orchestrator
from orchestrator.storage.memory import MemoryStore
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import turns


class Following(ScriptedAdapter):
    """Follows the ends of jobs, and takes none unless told to."""

    def __init__(self, *named: str, takes: bool = False) -> None:
        super().__init__(held=True, recovers=True)
        self.named = named
        self.takes = takes
        self.heard: list[list[str]] = []

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.follow, ready)
            if self.takes:
                await super().serve(backend, ready, emit)

    async def follow(self, ready: Ready) -> None:
        async with aclosing(ready.ended(self.named)) as ends:
            async for jobs in ends:
                self.heard.append(jobs)


async def submit(service: Orchestrator) -> Job:
    return await service.submit(FLIP, backend="scripted")


async def test_what_ends_while_it_waits_is_told() -> None:
    """Those canceled together come together."""
    adapter = Following()
    async with serving(adapter) as service:
        await turns(20)
        one, two, other = [await submit(service) for _ in range(3)]
        await service.cancel([one.id, two.id])
        await turns(10)
        assert [sorted(jobs) for jobs in adapter.heard] == [sorted([one.id, two.id])]
        await service.cancel([other.id])
        await turns(10)
        assert adapter.heard[1:] == [[other.id]]


async def test_an_attempt_in_hand_is_told_by_cancel_alone() -> None:
    """An end is told once."""
    adapter = Following(takes=True)
    async with serving(adapter) as service:
        job = await submit(service)
        await adapter.until_seen(1)
        await service.cancel([job.id])
        await turns(10)
        assert [attempt.id for attempt in adapter.canceled] == [job.id]
        assert adapter.heard == []


async def test_what_waited_too_long_is_told() -> None:
    """A job that fails by the queue limit has ended too."""
    clock, adapter = ManualClock(), Following()
    async with serving(adapter, clock=clock, queue_limit_s=60.0) as service:
        await turns(20)
        job = await submit(service)
        await clock.advanced(90.0)
        assert adapter.heard == [[job.id]]


async def test_named_jobs_that_have_ended_come_first() -> None:
    """Also those that ended while nobody served, and those that nobody knows."""
    store = MemoryStore(ManualClock())
    async with serving(Following(), store=store) as service:
        canceled, waiting = await submit(service), await submit(service)
        await service.cancel([canceled.id])
        await service.fleet.disable("scripted")
        late = Following(waiting.id, canceled.id, "unknown")
        await service.fleet.enable(late)
        await turns(10)
        assert late.heard == [[canceled.id, "unknown"]]
        await service.cancel([waiting.id])
        await turns(10)
        assert late.heard[1:] == [[waiting.id]]


class Unreadable(MemoryStore):
    """Cannot say what has ended, once; a job ends meanwhile."""

    failures = 1

    async def unended(self, job_ids: Collection[str]) -> set[str]:
        if self.failures:
            self.failures -= 1
            raise StorageError("the disk is away")
        return await super().unended(job_ids)


async def test_a_store_that_cannot_read_is_waited_for() -> None:
    """And what ends meanwhile is told."""
    clock = ManualClock()
    adapter = Following("unknown")
    async with serving(adapter, store=Unreadable(clock), clock=clock) as service:
        await turns(20)
        job = await submit(service)
        await service.cancel([job.id])
        await turns(10)
        assert adapter.heard == []
        await clock.advanced(2.0)
        await turns(10)
        assert adapter.heard == [["unknown"], [job.id]]
