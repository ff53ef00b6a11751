"""Operators at work under load, walked through by seed: every job ends once, and runs in one place at a time."""

from __future__ import annotations

import random

import anyio
import pytest

from orchestrator.backends.abc import Attempt
from orchestrator.dispatch import queue
from orchestrator.errors import BackendRetired
from orchestrator.events import CAUSE_OF
from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.model import Job, Result
from orchestrator.storage.abc import Store
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import UncertainStore, turns


class Busy(ScriptedAdapter):
    """Takes its time; knows with its predecessors what runs."""

    def __init__(self, rng: random.Random, running: dict[str, int], **options: object) -> None:
        super().__init__(concurrency=3, **options)  # type: ignore[arg-type]
        self.rng, self.running = rng, running

    async def run(self, attempt: Attempt) -> Result:
        assert attempt.id not in self.running, "a job runs twice at a time"
        self.running[attempt.id] = attempt.number
        try:
            await turns(self.rng.randrange(20))
            return zeros(attempt)
        finally:
            del self.running[attempt.id]


@pytest.mark.parametrize("seed", range(20))
async def test_no_job_is_lost_whatever_the_operator_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses, drains, replacements, disabling and enabling, half of them given up, race submits and cancels."""
    monkeypatch.setattr(queue, "WINDOW_JOBS", 6)
    monkeypatch.setattr(queue, "PAGE", 4)
    rng, clock = random.Random(seed), ManualClock()
    running: dict[str, int] = {}
    prepared = bool(seed % 2)

    def adapter() -> Busy:
        return Busy(rng, running, instant_prepare=not prepared)

    async with serving(adapter(), store=UncertainStore(clock, rng), clock=clock, seed=seed) as service:
        fleet, jobs = service.fleet, []

        async def submitter() -> None:
            for _ in range(15):
                try:
                    jobs.append(await service.submit(FLIP if rng.random() < 0.7 else [FLIP] * 3, backend="scripted"))
                except BackendRetired:
                    await turns(20)
                await turns(rng.randrange(8))

        async def canceler() -> None:
            for _ in range(5):
                await turns(rng.randrange(40))
                if jobs:
                    await service.cancel([rng.choice(jobs).id])

        async def operator() -> None:
            for _ in range(10):
                await turns(rng.randrange(30))
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(operate)
                        await turns(rng.randrange(120))
                        if rng.random() < 0.5:
                            scope.cancel()

        async def operate() -> None:
            word = rng.choice(["pause", "resume", "drain", "replace", "disable"])
            if word == "pause":
                await fleet.pause("scripted")
            elif word == "resume":
                await fleet.resume("scripted")
            elif word == "drain":
                await fleet.drain("scripted", rng.random())
            elif not service.backends.adapters():
                await fleet.enable(adapter())
            elif word == "replace":
                await fleet.replace("scripted", adapter(), drain_s=rng.random())
            else:
                await fleet.disable("scripted", drain_s=rng.random())

        async with anyio.create_task_group() as tasks:
            for task in (submitter, submitter, canceler, operator):
                tasks.start_soon(task)
            tasks.start_soon(clock.advanced, 60.0)
        if not service.backends.adapters():
            await fleet.enable(adapter())
        await fleet.resume("scripted")
        for _ in range(100):
            if all([(await service.get(job.id)).terminal for job in jobs]):
                break
            await clock.advanced(5.0)
        for job in jobs:
            await ended_once(service.store, job)
            found = await service.get(job.id)
            assert found.status in {JobStatus.COMPLETED, JobStatus.CANCELED}
            assert found.failed_attempts == 0
        line = service._dispatcher.lines["scripted"]
        assert (line.busy, running, service._dispatcher._inputs) == (0, {}, {})
        assert service.backends.state("scripted").status == "available"
        assert [standing.status for standing in await service.store.standings()] in ([], ["available"])
        assert (await service.verify()).problems == ()


async def ended_once(store: Store, job: Job) -> None:
    """Exactly one terminal event for each of the family; attempts ascend."""
    for job_id in [job.id, *(child.id for child in await store.children(job.project_id, job.id))]:
        events = await store.events(0, limit=1_000, jobs=[job_id])
        assert len([event for event in events if event.kind in CAUSE_OF and event.after in TERMINAL]) == 1
        attempts = [event.attempt for event in events]
        assert attempts == sorted(attempts)
