"""A memory store as slow and as unpredictable as a store on disk, from a seed.

Writes are committed one after the other, and answered some turns of the event loop later; reads answer what was
true some turns ago; a cancelled write happens all the same. So a test that walks through many seeds walks
through many interleavings, and can walk through any of them again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Collection, Sequence
from typing import Any, TypeVar

from orchestrator.clock import Clock
from orchestrator.errors import StorageError
from orchestrator.events import Event
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job
from orchestrator.storage.abc import Write
from orchestrator.storage.memory import MemoryStore

T = TypeVar("T")


async def turns(number: int) -> None:
    """Let the event loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


class UncertainStore(MemoryStore):
    """See the module.

    Args:
        most: Most turns that anything takes at each of its steps.
    """

    def __init__(self, clock: Clock, rng: random.Random, *, most: int = 5) -> None:
        super().__init__(clock)
        self._rng, self._most = rng, most
        self._one = asyncio.Lock()
        self._pending: set[asyncio.Task[Any]] = set()
        self._shut = False

    async def aclose(self) -> None:
        self._shut = True
        while self._pending:
            await asyncio.wait(self._pending)
        await super().aclose()

    def _turns(self) -> Awaitable[None]:
        return turns(self._rng.randrange(self._most + 1))

    async def _write(self, operation: Write) -> Any:
        if self._shut:
            raise StorageError("the store is closed")
        task = asyncio.create_task(self._slowly(operation))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return await asyncio.shield(task)

    async def _slowly(self, operation: Write) -> Any:
        async with self._one:
            await self._turns()
            answer = await super()._write(operation)
        await self._turns()
        return answer

    async def _late(self, read: Awaitable[T]) -> T:
        answer = await read
        await self._turns()
        return answer

    async def job(self, project_id: str, job_id: str) -> Job | None:
        return await self._late(super().job(project_id, job_id))

    async def children(self, project_id: str, parent_id: str) -> list[Job]:
        return await self._late(super().children(project_id, parent_id))

    async def active(
        self, backend: str, status: JobStatus, *, after: str | None, limit: int
    ) -> list[tuple[Job, bytes, bytes | None]]:
        return await self._late(super().active(backend, status, after=after, limit=limit))

    async def unended(self, job_ids: Collection[str]) -> set[str]:
        return await self._late(super().unended(job_ids))

    async def events(
        self,
        after: int,
        *,
        limit: int,
        project_id: str | None = None,
        jobs: Collection[str] = (),
        sessions: Collection[str] = (),
        kinds: Collection[str] = (),
    ) -> list[Event]:
        found = super().events(after, limit=limit, project_id=project_id, jobs=jobs, sessions=sessions, kinds=kinds)
        return await self._late(found)

    async def results(self, project_id: str, job_ids: Sequence[str]) -> dict[str, bytes]:
        return await self._late(super().results(project_id, job_ids))
