"""Cancel public coroutines anywhere: nothing stays open, waiting, leased or running, and the store goes on."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.report import Report
from orchestrator.errors import OrchestratorError
from orchestrator.lifecycle import ACTIVE, JobStatus
from orchestrator.model import JobRequest
from orchestrator.service import Orchestrator
from orchestrator.storage.abc import Idempotency
from orchestrator.testing.adapters import FLIP, ScriptedAdapter
from orchestrator.testing.uncertain import turns

#: Turns of the event loop, and seconds on the store's threads, after which a call is canceled at the latest.
MOST_TURNS: Final = 12
MOST_S: Final = 0.002
#: Jobs that calls are about, at most; older ones are left alone.
RECENT: Final = 50

Call = Callable[[], Awaitable[Any]]


def _calls(service: Orchestrator, jobs: list[str], rng: random.Random) -> dict[str, Call]:
    """Every public coroutine, on some of the jobs."""
    some = rng.choice(jobs)
    request = JobRequest(backend="scripted", circuits=(FLIP, FLIP), multi=True)

    async def follow() -> None:
        async for _ in service.events("earliest", jobs=[some]):
            pass

    async def key() -> None:
        made, _ = await service.accounts.add_key(service.project.id)
        await service.accounts.revoke_key(made.id, project=service.project.id)

    key_of = f"key {rng.randrange(20)}"
    calls: dict[str, Call] = {
        "submit": lambda: service.submit(FLIP, backend="scripted"),
        "submit once": lambda: service.submit(request, idempotency=Idempotency(key_of, "digest")),
        "submit_many": lambda: service.submit_many([request, request]),
        "get": lambda: service.get(some),
        "children": lambda: service.children(some),
        "list_jobs": lambda: service.list_jobs(limit=3),
        "cancel": lambda: service.cancel([some]),
        "delete": lambda: service.delete([some]),
        "wait": lambda: service.wait(some),
        "result": lambda: service.result(some),
        "child_results": lambda: service.child_results(some),
        "circuit": lambda: service.circuit(some),
        "events": follow,
        "keys": key,
        "verify": service.verify,
    }
    return calls


async def _cancelled(call: Call, moment: float, report: Report, name: str) -> bool:
    """Whether the call was cut off: it is canceled some turns after it began, or a moment later still."""
    task = asyncio.ensure_future(call())
    if moment < 1.0:
        await turns(round(moment * MOST_TURNS))
    else:
        await asyncio.sleep((moment - 1.0) * MOST_S)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    except OrchestratorError:
        return False  # a job that is gone, or has no result
    except Exception as error:
        report.problems.append(f"{name} raised {error!r}")
    return False


async def rehearse(folder: Path, times: int, seed: int) -> Report:
    """Cancel so many calls, then look for what was left behind."""
    rng, report = random.Random(seed), Report()
    threads = threading.active_count()
    adapter = ScriptedAdapter(concurrency=4, batch=4)
    cut = 0
    async with Orchestrator.open(folder / "data", adapters=[adapter]) as service:
        jobs = [(await service.submit(FLIP, backend="scripted")).id]
        resting = len(asyncio.all_tasks())
        for number in range(1, times + 1):
            name, call = rng.choice(list(_calls(service, jobs, rng).items()))
            cut += await _cancelled(call, rng.uniform(0.0, 2.0), report, name)
            if rng.random() < 0.2:
                jobs = [*jobs[-RECENT:], (await service.submit(FLIP, backend="scripted")).id]
            if number % max(1, times // 10) == 0:
                print(f"{number} calls, {cut} cut off", flush=True)
        last = await service.submit(FLIP, backend="scripted")
        report.expect((await service.result(last.id)).probabilities == {0: 1.0}, "the service does not go on")
        page = await service.list_jobs(limit=1_000, statuses=ACTIVE)
        for job in page.jobs:
            await service.wait(job.id)
        await turns(50)
        tasks = len(asyncio.all_tasks())
        report.expect(tasks <= resting, f"{tasks} tasks, {resting} at the beginning")
        report.expect(not service._recent._waiters, "somebody still waits for a job")
        report.expect(not service.event_log._waiters, "somebody still waits for events")
        report.expect(not service._dispatcher._inputs, "inputs of submits are still held")
        report.expect(not any(len(line.leases) for line in service._dispatcher.lines.values()), "leases are left")
        stuck = await service.store.active("scripted", JobStatus.STARTED, after=None, limit=1)
        report.expect(not stuck, "a job is started and nobody runs it")
        verified = await service.verify()
        report.problems += verified.problems
        report.figures.append(f"{verified.jobs} jobs, {verified.events} events")
    for _ in range(200):  # a thread that has closed its connection still has to end
        if (left := threading.active_count()) <= threads:
            break
        await asyncio.sleep(0.01)
    report.expect(left <= threads, f"{left} threads, {threads} at the beginning")
    report.figures.insert(0, f"{times} calls, {cut} cut off")
    return report
