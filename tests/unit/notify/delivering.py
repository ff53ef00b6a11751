"""A deliverer over a memory store, on a clock that tests move."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import anyio

from orchestrator.hooks import Delivery, Hook
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobSpec, Project, Result
from orchestrator.notify.abc import Channel, Notification
from orchestrator.notify.composing import Composer
from orchestrator.notify.delivery import Deliverer
from orchestrator.notify.registry import Channels
from orchestrator.notify.rules import Rules
from orchestrator.storage.abc import Committed, Draft, Submit
from orchestrator.storage.memory import MemoryStore
from orchestrator.testing.clock import ManualClock

PROJECT = Project(id="project-1", name="one", created_at=0)


class Post:
    """A store with its rules, that outlives the deliverers which run over it.

    Attributes:
        deliverer: The one that runs now.
        jobs: Ids of failed jobs, in order.
    """

    def __init__(self, channel: Channel) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.rules = Rules()
        self.channel = channel
        self.deliverer: Deliverer | None = None
        self.jobs: list[str] = []
        self._numbers = count(1)

    async def open(self, *hooks: Hook) -> None:
        await self.store.open(self._committed, self.rules.route)
        for hook in hooks:
            await self.store.outbox.add_hook(hook)
        self.rules.load(hooks, self.store.epoch)

    def _committed(self, entries: Sequence[Committed]) -> None:
        if self.deliverer is not None:
            self.deliverer.notice(entries)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Deliverer]:
        """One life of a deliverer; it is killed at the end, whatever it does."""

        async def no_result(job: Job) -> Result:
            raise AssertionError("nobody wants results")

        self.deliverer = deliverer = Deliverer(
            self.store.outbox,
            self.rules,
            Channels((), {}, self.clock, given=[self.channel]),
            composer=Composer(self.store, project_of=lambda _: PROJECT, result_of=no_result),
            clock=self.clock,
            rng=random.Random(7),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deliverer.run)
            await self.settled()
            yield deliverer
            tasks.cancel_scope.cancel()
        self.deliverer = None

    async def fail(self, number: int = 1, project: str = PROJECT.id, *, settle: bool = True) -> None:
        """Jobs that fail, each in a commit of its own; lets what follows happen."""
        for _ in range(number):
            job_id = f"job-{next(self._numbers):04d}"
            now = self.clock.now_ms()
            job = Job(
                id=job_id,
                project_id=project,
                spec=JobSpec(backend="simulator"),
                status=JobStatus.FAILED,
                submitted_at=now,
                completed_at=now,
            )
            await self.store.submit(Submit([Draft(job)]))
            if project == PROJECT.id:
                self.jobs.append(job_id)
        if settle:
            await self.settled()

    async def settled(self) -> None:
        """Let what can happen without time passing happen."""
        for _ in range(8):
            await self.clock.advanced(0)

    async def pending(self, hook_id: str = "hook-1") -> list[Delivery]:
        return await self.store.outbox.pending(hook_id, limit=10_000)

    async def dead(self, hook_id: str = "hook-1") -> list[Delivery]:
        return await self.store.outbox.dead(hook_id, limit=10_000)


def hook(hook_id: str = "hook-1", to: str = "me", project: str = PROJECT.id) -> Hook:
    return Hook(id=hook_id, project_id=project, channel="recording", target={"to": to}, created_at=0)


def jobs_of(notifications: Sequence[Notification]) -> list[str | None]:
    return [each.event.job_id for each in notifications]
