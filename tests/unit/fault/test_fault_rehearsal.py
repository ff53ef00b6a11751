"""Rehearsals by seed: under every fault alone, and under all together, every job ends exactly once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.backends.abc import Adapter, Attempt, Capabilities, Emit, Ready
from orchestrator.errors import ExecutionError
from orchestrator.events import CAUSE_OF
from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.model import Job, Result
from orchestrator.service import Orchestrator
from orchestrator.storage.abc import Store
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import UncertainStore, turns
from orchestrator_fault.plan import Fault
from tests.unit.fault.faulting import Faulty, events_of, until_ended


class Batching(ScriptedAdapter):
    """The batch form: three at a time."""

    def __init__(self) -> None:
        super().__init__("many", batch=3, concurrency=2)

    async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        self.begun(*attempts)
        await turns(3)
        return [zeros(attempt) for attempt in attempts]


class Streaming(ScriptedAdapter):
    """The full form: compiles first, starts late, tells progress."""

    def __init__(self) -> None:
        super().__init__("machine", instant_prepare=False, concurrency=1)

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        while True:
            for attempt in await ready.take(2, start=False):
                if await emit.started([attempt]):
                    self.begun(attempt)
                    await emit.progress(attempt, 0.5)
                    await emit.finished([(attempt, zeros(attempt))])


FORMS: dict[str, type[ScriptedAdapter]] = {"scripted": ScriptedAdapter, "many": Batching, "machine": Streaming}
#: Each fault alone, as often as possible where the job must end all the same, and all at once.
PLANS: dict[str, dict[str, Any]] = {
    **{fault.value: {fault.value: 0.5} for fault in Fault},
    **{f"{fault}, always": {fault.value: 1.0} for fault in Fault},
    "all": {fault.value: 0.25 for fault in Fault},
    "all, always": {fault.value: 1.0 for fault in Fault},
    "all, vouched": {fault.value: 0.3 for fault in Fault} | {"lost_vouched": True, "failure_retryable": True},
}


async def ended_once(service: Orchestrator, jobs: Sequence[Job]) -> None:
    """Exactly one terminal event for each job and child, nothing after it, and no lease is left."""
    for job in jobs:
        events = await events_of(service, job)
        for job_id in {event.job_id for event in events}:
            own = [event for event in events if event.job_id == job_id]
            ends = [event for event in own if event.kind in CAUSE_OF and event.after in TERMINAL]
            assert ends == own[-1:], [event.kind for event in own]
    assert (await service.verify()).problems == ()
    assert [len(line.leases) for line in service._dispatcher.lines.values()] == [0]


async def rehearsed(
    adapter: Adapter, backend: str, seed: int, *, store: Store | None = None, clock: ManualClock
) -> list[tuple[str, str, int]]:
    """Jobs, families and cancels by seed until all has ended; answers what the log says, without ids."""
    rng = random.Random(seed)
    limits: dict[str, Any] = {"lease_s": 9.0, "run_limit_s": 60.0, "retry_base_s": 1.0}
    async with serving(adapter, store=store, clock=clock, seed=seed, **limits) as service:
        jobs: list[Job] = []
        for _ in range(10):
            circuits = FLIP if rng.random() < 0.7 else [FLIP] * rng.randrange(1, 4)
            jobs.append(await service.submit(circuits, backend=backend))
            await turns(rng.randrange(20))
            if rng.random() < 0.15:
                await service.cancel([rng.choice(jobs).id])
        ended = await until_ended(service, clock, jobs)
        await clock.advanced(60.0)  # what is late comes too late
        for job in ended:
            if job.status is JobStatus.COMPLETED and not job.children:
                assert (await service.result(job.id)).counts == {0: 100}
        await ended_once(service, jobs)
        events = await service.store.events(0, limit=100_000)
        return [(event.kind, event.job_id or "", event.attempt) for event in events]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("backend", FORMS)
@pytest.mark.parametrize("plan", PLANS)
async def test_every_job_ends_exactly_once(plan: str, backend: str, seed: int) -> None:
    """Whatever strikes, on an adapter of each form, over a store of uncertain speed."""
    clock = ManualClock()
    adapter = Faulty(FORMS[backend](), seed=seed, outage_s=20.0, **PLANS[plan])
    store = UncertainStore(clock, random.Random(seed))
    await rehearsed(adapter, f"fault.{backend}", seed, store=store, clock=clock)
    if plan != "all":
        assert adapter.injected, "the fault never struck"


@pytest.mark.parametrize("backend", FORMS)
async def test_a_rehearsal_can_be_repeated(backend: str) -> None:
    """The same seeds give the same log, another seed of the faults another one."""

    async def once(seed: int) -> list[tuple[str, str, int]]:
        adapter = Faulty(FORMS[backend](), seed=seed, **PLANS["all"])
        return await rehearsed(adapter, f"fault.{backend}", 1, clock=ManualClock())

    assert await once(4) == await once(4)
    assert await once(4) != await once(5)


async def test_without_probabilities_the_log_is_that_of_the_adapter_alone() -> None:
    """Wrapped or not, the same events in the same order."""
    for backend, form in FORMS.items():
        bare = await rehearsed(form(), backend, 3, clock=ManualClock())
        assert await rehearsed(Faulty(form()), f"fault.{backend}", 3, clock=ManualClock()) == bare


@pytest.mark.parametrize("seed", range(2))
async def test_every_job_ends_exactly_once_on_disk(seed: int, tmp_path: Path) -> None:
    """All faults at once over SQLite, whose commits take real time while the clock runs."""
    clock = ManualClock()
    adapter = Faulty(Batching(), seed=seed, **PLANS["all"])
    async with serving(adapter, data=tmp_path / "data", clock=clock, lease_s=9.0, run_limit_s=60.0) as service:

        async def tick() -> None:
            while True:
                clock.advance(0.01)
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        try:
            jobs = [
                await service.submit(FLIP if number % 3 else [FLIP] * 3, backend="fault.many") for number in range(12)
            ]
            for job in jobs:
                await service.wait(job.id)
            await turns(200)  # the last notices reach the line
        finally:
            ticking.cancel()
        await ended_once(service, jobs)
    assert adapter.injected
