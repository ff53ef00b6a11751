"""Faulty backends over a clock to move, with worker processes that are said to die."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

from orchestrator.backends.abc import AdapterContext
from orchestrator.errors import WorkerLost
from orchestrator.events import Event
from orchestrator.model import Job
from orchestrator.service import Orchestrator
from orchestrator.testing.clock import ManualClock
from orchestrator.workers.pool import WorkerPool
from orchestrator_fault.adapter import FaultAdapter


class Dying:
    """In place of the pool: whatever runs there dies."""

    async def run(self, call: str, payloads: Sequence[bytes], **limits: Any) -> list[WorkerLost]:
        return [WorkerLost("killed by signal 9") for _ in payloads]


class Faulty(FaultAdapter):
    """The adapter, without real processes."""

    async def open(self, context: AdapterContext) -> None:
        await super().open(dataclasses.replace(context, workers=cast(WorkerPool, Dying())))


async def events_of(service: Orchestrator, job: Job) -> list[Event]:
    """All events of a job and its children."""
    ids = [job.id, *(child.id for child in await service.store.children(job.project_id, job.id))]
    return await service.store.events(0, limit=100_000, jobs=ids)


async def until_ended(service: Orchestrator, clock: ManualClock, jobs: Sequence[Job], step_s: float = 2.0) -> list[Job]:
    """Move time until all have ended; a job that does not in an hour fails the test."""
    for _ in range(round(3_600 / step_s)):
        found = [await service.get(job.id) for job in jobs]
        if all(job.terminal for job in found):
            return found
        await clock.advanced(step_s)
    raise AssertionError(f"not ended: {[(job.id, job.status) for job in found if not job.terminal]}")
