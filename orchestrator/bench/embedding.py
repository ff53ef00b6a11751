"""Life cycles and latencies through the embedding API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.bench.workload import REQUEST
from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.service import Orchestrator
from orchestrator.storage.abc import Committed


async def cycles_per_second(orchestrator: Orchestrator, submitters: int, seconds: float) -> float:
    """Jobs a second that are submitted, run and recorded as ended.

    Each submitter submits one job, waits until its terminal event is committed, and goes on.
    """
    begun = time.perf_counter()
    until = begun + seconds

    async def submitter() -> int:
        done = 0
        while not done or time.perf_counter() < until:
            job = await orchestrator.submit(REQUEST)
            await orchestrator.wait(job.id)
            done += 1
        return done

    done = await asyncio.gather(*(submitter() for _ in range(submitters)))
    return sum(done) / (time.perf_counter() - begun)


async def batched_cycles_per_second(orchestrator: Orchestrator, submitters: int, batch: int, seconds: float) -> float:
    """As `cycles_per_second`, each submitter handing in `batch` jobs in one call and waiting for all of them."""
    begun = time.perf_counter()
    until = begun + seconds
    requests = [REQUEST] * batch

    async def submitter() -> int:
        done = 0
        while not done or time.perf_counter() < until:
            jobs = await orchestrator.submit_many(requests)
            for job in jobs:
                await orchestrator.wait(job.id)
            done += len(jobs)
        return done

    done = await asyncio.gather(*(submitter() for _ in range(submitters)))
    return sum(done) / (time.perf_counter() - begun)


class Latencies(NamedTuple):
    """Milliseconds from the call of submit to two commits, one value per job."""

    started_ms: list[float]
    completed_ms: list[float]


async def idle_latencies(orchestrator: Orchestrator, jobs: int, pause_s: float) -> Latencies:
    """One job at a time on an idle orchestrator, with a pause after each."""
    found = Latencies([], [])
    begun = 0.0

    def notice(entries: Sequence[Committed]) -> None:
        now = time.perf_counter()
        for event, _ in entries:
            if event.after is JobStatus.STARTED:
                found.started_ms.append(1e3 * (now - begun))
            elif event.after in TERMINAL:
                found.completed_ms.append(1e3 * (now - begun))

    unsubscribe = orchestrator.bus.subscribe(notice)
    try:
        for _ in range(jobs):
            begun = time.perf_counter()
            job = await orchestrator.submit(REQUEST)
            await orchestrator.wait(job.id)
            await asyncio.sleep(pause_s)
    finally:
        unsubscribe()
    return found
