"""Sessions through the front door: their time, restarts, costs, who gets in last, and their events."""

import asyncio
import random
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from orchestrator.backends.abc import Attempt
from orchestrator.errors import BackendNotFound, InvalidRequest, SessionNotFound, SessionRefused
from orchestrator.events import Event
from orchestrator.lifecycle import TERMINAL, JobStatus
from orchestrator.model import Cost, Job, Result, SessionStatus
from orchestrator.service import Orchestrator
from orchestrator.storage import sessions as ledger_sessions
from orchestrator.subscription import Delivered, Live
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import UncertainStore, turns


def priced(attempt: Attempt) -> Result:
    """Every run costs 40 cents and takes two seconds."""
    result = zeros(attempt)
    return Result(
        qubits=1, probabilities=result.probabilities, counts=result.counts, execution_ms=2_000, cost=Cost(value=0.4)
    )


async def test_a_session_from_open_to_end() -> None:
    """Created, started by its first job, ended on request with its queued jobs; what runs, runs on."""
    adapter = ScriptedAdapter(held=True, concurrency=1)
    clock = ManualClock()
    async with serving(adapter, clock=clock) as service:
        session = await service.sessions.create("scripted", creator_id="ada")
        assert (session.status, session.created_at) == (SessionStatus.CREATED, clock.now_ms())
        running = await service.submit(FLIP, backend="scripted", session_id=session.id)
        waiting = await service.submit(FLIP, backend="scripted", session_id=session.id)
        outside = await service.submit(FLIP, backend="scripted")
        await adapter.until_seen(1)
        assert (await service.sessions.get(session.id)).status is SessionStatus.STARTED
        ended = await service.sessions.end(session.id, ender_id="ada")
        assert (ended.status, ended.active_jobs, ended.ender_id) == (SessionStatus.ENDED, 1, "ada")
        assert (await service.get(waiting.id)).status is JobStatus.CANCELED
        adapter.release()
        for job in (running, outside):
            assert (await service.wait(job.id)).status is JobStatus.COMPLETED
        assert await service.sessions.list() == [await service.sessions.get(session.id)]
        with pytest.raises(SessionRefused):
            await service.submit(FLIP, backend="scripted", session_id=session.id)


async def test_what_cannot_be_opened() -> None:
    """An unknown backend, limits that are none; and what belongs to another project is not there."""
    async with serving(ScriptedAdapter()) as service:
        with pytest.raises(BackendNotFound):
            await service.sessions.create("nowhere")
        for limits in (
            {"job_count_limit": 0},
            {"job_count_limit": True},
            {"duration_limit_min": 1.5},
            {"cost_limit": Cost(value=float("inf"))},
            {"cost_limit": Cost(value=-1.0)},
        ):
            with pytest.raises(InvalidRequest) as raised:
                await service.sessions.create("scripted", **limits)
            assert raised.value.fields[0].startswith("settings.")
        other = (await service.accounts.add_project("other")).id
        foreign = await service.sessions.create("scripted", project=other)
        for call in (service.sessions.get, service.sessions.end):
            with pytest.raises(SessionNotFound):
                await call(foreign.id)
        assert await service.sessions.list() == []


async def test_time_ends_a_session() -> None:
    """At its expiry, and not before, the session ends by itself and its queued jobs with it."""
    clock = ManualClock()
    adapter = ScriptedAdapter(held=True, concurrency=1)
    async with serving(adapter, clock=clock) as service:
        session = await service.sessions.create("scripted", duration_limit_min=10)
        assert session.expires_at == clock.now_ms() + 600_000
        jobs = [await service.submit(FLIP, backend="scripted", session_id=session.id) for _ in range(2)]
        await adapter.until_seen(1)
        await clock.advanced(599)
        assert (await service.sessions.get(session.id)).active
        await clock.advanced(2)
        ended = await service.sessions.get(session.id)
        assert (ended.status, ended.ender_id) == (SessionStatus.ENDED, None)
        assert [(await service.get(job.id)).status for job in jobs] == [JobStatus.STARTED, JobStatus.CANCELED]


async def test_no_job_joins_after_the_time_is_over() -> None:
    """Also in the moment before that is noticed."""
    clock = ManualClock()
    async with serving(ScriptedAdapter(), clock=clock) as service:
        session = await service.sessions.create("scripted", duration_limit_min=1)
        clock.jump_wall(60)
        with pytest.raises(SessionRefused):
            await service.submit(FLIP, backend="scripted", session_id=session.id)


async def test_time_goes_on_while_nobody_runs(tmp_path: Path) -> None:
    """Limits and counts survive restarts; what expired meanwhile is over before anything is handed out."""
    clock = ManualClock()
    adapter = ScriptedAdapter(held=True, concurrency=1)
    async with serving(adapter, data=tmp_path, clock=clock) as service:
        short = await service.sessions.create("scripted", duration_limit_min=1)
        long = await service.sessions.create("scripted", duration_limit_min=60, job_count_limit=2)
        running, waiting = [await service.submit(FLIP, backend="scripted", session_id=short.id) for _ in range(2)]
        kept = await service.submit(FLIP, backend="scripted", session_id=long.id)
        await adapter.until_seen(1)
    clock.advance(120)
    adapter = ScriptedAdapter()
    async with serving(adapter, data=tmp_path, clock=clock) as service:
        # What ran was put back when that stopped, and so was queued like the other when its time was over.
        for job in (running, waiting):
            assert (await service.get(job.id)).status is JobStatus.CANCELED
        assert (await service.wait(kept.id)).status is JobStatus.COMPLETED
        assert not (await service.sessions.get(short.id)).active
        assert (await service.sessions.get(long.id)).jobs == 1
        await service.wait((await service.submit(FLIP, backend="scripted", session_id=long.id)).id)
        with pytest.raises(SessionRefused):
            await service.submit(FLIP, backend="scripted", session_id=long.id)
        other = await service.sessions.create("scripted", duration_limit_min=60)
    async with serving(ScriptedAdapter(), data=tmp_path, clock=clock) as service:
        await clock.until_sleeping()
        clock.advance(3_600)
        with anyio.fail_after(30):
            while (await service.sessions.get(other.id)).active:
                await checkpoint()
        assert (await service.verify()).problems == ()
    assert {attempt.job.id for attempt in adapter.seen} >= {kept.id}
    assert not {attempt.job.id for attempt in adapter.seen} & {running.id, waiting.id}


async def test_costs_and_run_times_add_up() -> None:
    """The session ends when its jobs have cost what they may; jobs that wait then are canceled."""
    adapter = ScriptedAdapter(answer=priced, concurrency=1)
    async with serving(adapter) as service:
        session = await service.sessions.create("scripted", cost_limit=Cost(value=1.0))
        parent = await service.submit([FLIP] * 2, backend="scripted", session_id=session.id)
        await service.wait(parent.id)
        told = await service.sessions.get(session.id)
        assert (told.active, told.used_ms, round(told.spent, 6)) == (True, 4_000, 0.8)
        adapter.hold()
        jobs = [await service.submit(FLIP, backend="scripted", session_id=session.id) for _ in range(3)]
        await adapter.until_seen(3)
        adapter.release()
        ended = [(await service.wait(job.id)).status for job in jobs]
        assert ended == [JobStatus.COMPLETED, JobStatus.CANCELED, JobStatus.CANCELED]
        assert not (await service.sessions.get(session.id)).active


async def test_the_rest_of_a_long_queue_is_canceled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An end cancels all that waits, however many commits that takes; one by a limit gets the rest a little later."""
    monkeypatch.setattr(ledger_sessions, "CASCADE", 3)
    clock = ManualClock()
    adapter = ScriptedAdapter(answer=priced, held=True, concurrency=1)
    async with serving(adapter, clock=clock) as service:
        session = await service.sessions.create("scripted")
        jobs = [await service.submit(FLIP, backend="scripted", session_id=session.id) for _ in range(12)]
        await adapter.until_seen(1)
        assert (await service.sessions.end(session.id)).active_jobs == 1
        assert [(await service.get(job.id)).status for job in jobs[1:]] == [JobStatus.CANCELED] * 11
        limited = await service.sessions.create("scripted", cost_limit=Cost(value=0.1))
        jobs = [await service.submit(FLIP, backend="scripted", session_id=limited.id) for _ in range(9)]
        adapter.release()
        await service.wait(jobs[0].id)
        adapter.hold()
        assert (await service.sessions.get(limited.id)).closing
        await clock.advanced(20)
        told = await service.sessions.get(limited.id)
        assert (told.active, told.closing) == (False, False)
        statuses = Counter([(await service.get(job.id)).status for job in jobs])
        assert statuses[JobStatus.READY] == statuses[JobStatus.SUBMITTED] == 0
        adapter.release()


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_meets_the_books_balance(seed: int) -> None:
    """Submits, ends, cancels and runs that interleave: never a job too many, none queued at the end, counts exact."""
    rng = random.Random(seed)
    clock = ManualClock()
    store = UncertainStore(clock, rng)
    adapter = ScriptedAdapter(answer=priced, concurrency=2)
    async with serving(adapter, clock=clock, store=store, seed=seed) as service:
        cost = Cost(value=rng.choice([1.0, 2.0, 50.0]))
        session = await service.sessions.create("scripted", job_count_limit=rng.randint(3, 12), cost_limit=cost)
        taken: list[Job] = []

        async def submit() -> None:
            await turns(rng.randrange(40))
            circuits: Any = FLIP if rng.random() < 0.7 else [FLIP, FLIP]
            try:
                taken.append(await service.submit(circuits, backend="scripted", session_id=session.id))
            except SessionRefused:
                return
            if rng.random() < 0.2:
                await service.cancel([taken[-1].id])

        async def end() -> None:
            await turns(rng.randrange(20, 80))
            if rng.random() < 0.5:
                await service.sessions.end(session.id)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(submit)
            tasks.start_soon(end)
        jobs = [await service.wait(job.id) for job in taken]
        told = await service.sessions.get(session.id)
        assert told.jobs == len(taken) <= (session.limits.job_count_limit or 0)
        assert all(job.status in TERMINAL for job in jobs)
        leaves = [child for job in jobs for child in await service.children(job.id)]
        leaves += [job for job in jobs if not job.children]
        completed = [leaf for leaf in leaves if leaf.status is JobStatus.COMPLETED]
        assert told.used_ms == 2_000 * len(completed)
        assert round(told.spent, 6) == round(0.4 * len(completed), 6)
        assert told.active_jobs == 0
        assert (await service.verify()).problems == ()


async def _history(service: Orchestrator, **chosen: Any) -> list[Event]:
    events: list[Event] = []
    async with aclosing(service.events("earliest", **chosen)) as items:
        async for item in items:
            if isinstance(item, Live):
                break
            assert isinstance(item, Delivered)
            events.append(item.event)
    return events


async def test_events_of_a_session() -> None:
    """From history and live: those of its jobs and their children, together with other filters, and no others."""
    adapter = ScriptedAdapter()
    async with serving(adapter) as service:
        one, two = [await service.sessions.create("scripted") for _ in range(2)]
        inside = await service.submit([FLIP, FLIP], backend="scripted", session_id=one.id)
        second = await service.submit(FLIP, backend="scripted", session_id=two.id)
        outside = await service.submit(FLIP, backend="scripted")
        for job in (inside, second, outside):
            await service.wait(job.id)
        log = await _history(service)
        family = {inside.id, *(child.id for child in await service.children(inside.id))}
        expected = [event for event in log if event.job_id in family]
        assert await _history(service, sessions=[one.id]) == expected
        both = [event for event in log if event.job_id in family | {second.id}]
        assert await _history(service, sessions=[one.id, two.id]) == both
        assert await _history(service, sessions=[one.id], jobs=[second.id]) == []
        completed = [event for event in expected if event.kind == "job.completed"]
        assert await _history(service, sessions=[one.id], kinds=["job.completed"]) == completed
        assert await _history(service, sessions=["unknown"]) == []
        other = (await service.accounts.add_project("other")).id
        assert await _history(service, sessions=[one.id], project=other) == []
        async with aclosing(service.events(sessions=[two.id])) as items:
            assert isinstance(await anext(items), Live)
            reading = asyncio.ensure_future(anext(items))
            await service.wait((await service.submit(FLIP, backend="scripted", session_id=one.id)).id)
            late = await service.submit(FLIP, backend="scripted", session_id=two.id)
            item = await reading
            assert isinstance(item, Delivered)
            assert item.event.job_id == late.id
