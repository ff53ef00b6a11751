"""Races, walked through by seed: whatever the order, one end, one run at a time, nothing left behind."""

import random

import anyio
import pytest

from orchestrator.backends.abc import Attempt
from orchestrator.dispatch import queue
from orchestrator.errors import JobNotFound, WorkerLost
from orchestrator.events import CAUSE_OF
from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.model import Job, Result
from orchestrator.service import Orchestrator
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import UncertainStore, turns


class Erratic(ScriptedAdapter):
    """Takes its time, loses attempts, fails now and then; knows what runs in two places."""

    def __init__(self, backend: str, rng: random.Random, **options: object) -> None:
        super().__init__(backend, **options)  # type: ignore[arg-type]
        self.rng = rng
        self.running: set[tuple[str, int]] = set()

    async def run(self, attempt: Attempt) -> Result:
        assert (attempt.id, attempt.number) not in self.running, "an attempt was handed out twice"
        self.running.add((attempt.id, attempt.number))
        self.seen.append(attempt)
        try:
            await turns(self.rng.randrange(12))
            if self.rng.random() < 0.15:
                raise WorkerLost("it was the weather")
            if self.rng.random() < 0.05:
                raise RuntimeError("a bug")
            if self.rng.random() < 0.05:
                await anyio.sleep_forever()
            return zeros(attempt)
        finally:
            self.running.discard((attempt.id, attempt.number))


async def one_end_each(service: Orchestrator, jobs: list[Job]) -> None:
    """Exactly one terminal event a job, attempts ascend."""
    for job in jobs:
        family = [job.id, *(child.id for child in await service.store.children(job.project_id, job.id))]
        for job_id in family:
            events = await service.store.events(0, limit=1_000, jobs=[job_id])
            ends = [event for event in events if event.kind in CAUSE_OF and event.after in TERMINAL]
            assert len(ends) == 1, (job_id, [event.kind for event in events])
            attempts = [event.attempt for event in events]
            assert attempts == sorted(attempts)


@pytest.mark.parametrize("seed", range(25))
async def test_cancel_finish_timeout_and_requeue_race(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random cancels, deletes, losses, run limits and heartbeats over a store of uncertain speed."""
    monkeypatch.setattr(queue, "WINDOW_JOBS", 6)
    monkeypatch.setattr(queue, "PAGE", 4)
    rng = random.Random(seed)
    clock = ManualClock()
    store = UncertainStore(clock, rng)
    quick = Erratic("quick", rng, concurrency=3, run_limit_s=20.0)
    slow = Erratic("slow", rng, concurrency=2, batch=2, instant_prepare=False, run_limit_s=20.0)
    async with serving(quick, slow, store=store, clock=clock, lease_s=9.0, seed=seed) as service:
        jobs: list[Job] = []
        deleted: set[str] = set()

        async def submitter() -> None:
            for _ in range(12):
                circuits = FLIP if rng.random() < 0.7 else [FLIP] * rng.randrange(1, 4)
                jobs.append(await service.submit(circuits, backend=rng.choice(["quick", "slow"])))
                await turns(rng.randrange(8))

        async def meddler() -> None:
            for _ in range(8):
                await turns(rng.randrange(25))
                if not jobs:
                    continue
                job = rng.choice(jobs)
                try:
                    if rng.random() < 0.8:
                        await service.cancel([job.id])
                    else:
                        deleted.add(job.id)
                        await service.delete([job.id])
                except JobNotFound:
                    assert job.id in deleted

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(submitter)
                tasks.start_soon(meddler)
            tasks.start_soon(clock.advanced, 30.0)
        for _ in range(200):
            left = [job for job in jobs if job.id not in deleted]
            if all([(await service.get(job.id)).terminal for job in left]):
                break
            for adapter in (quick, slow):
                adapter.vouching = rng.random() < 0.8
            await clock.advanced(5.0)
        for job in left:
            ended = await service.get(job.id)
            if ended.status is JobStatus.COMPLETED and not ended.children:
                assert (await service.result(job.id)).counts == {0: 100}
        await one_end_each(service, jobs)
        await clock.advanced(30.0)
        lines = service._dispatcher.lines.values()
        assert [len(line.leases) for line in lines] == [0, 0]
        assert [len(line.preparing) for line in lines] == [0, 0]
        assert service._recent._waiters == {}
        assert service._dispatcher._inputs == {}
        assert (await service.verify()).problems == ()
