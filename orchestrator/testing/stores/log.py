"""Checks of the event log: contiguous, told after the commit, read by cursor, trimmed, folded; and of interruptions."""

from __future__ import annotations

import asyncio

from orchestrator.errors import StorageError
from orchestrator.events import Event
from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.storage.abc import JobFilter, Submit
from orchestrator.testing.stores.opened import ALL, PROJECT, Opened, refused

S = JobStatus


async def check_log_is_contiguous(opened: Opened) -> None:
    """Sequences count from 1 without holes, and what was told is what is stored."""
    await opened.complete(*[await opened.submit() for _ in range(3)])
    await opened.submit_family(S.READY, S.FAILED)
    events = await opened.log()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [entry.event for entry in opened.told] == events
    assert opened.store.last_sequence() == len(events)


async def check_told_before_answered(opened: Opened) -> None:
    """When a write answers, its events were told and can be read; each came with its job as it then stood."""
    job = await opened.submit()
    assert [entry.job for entry in opened.told] == [job, job]
    started = await opened.cause(job, Cause.STARTED)
    assert opened.told[-1].job == started
    assert opened.told[-1].event == (await opened.log())[-1]
    assert opened.store.last_sequence() == opened.told[-1].event.sequence


async def check_writes_do_not_answer_at_once(opened: Opened) -> None:
    """A write lets others run before it answers."""
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "other")
    await opened.submit()
    assert ran == ["other"]


async def check_epoch(opened: Opened) -> None:
    """A log has a random name, fit for a cursor."""
    assert opened.store.epoch
    assert ":" not in opened.store.epoch


async def check_cursors_under_writers(opened: Opened) -> None:
    """Readers that go on from their cursor while many write see every event once, in order."""
    writing = True

    async def write() -> None:
        for _ in range(12):
            await opened.complete(await opened.submit())

    async def read(limit: int, **which: str) -> list[Event]:
        seen: list[Event] = []
        while True:
            last_round = not writing
            page = await opened.store.events(seen[-1].sequence if seen else 0, limit=limit, **which)
            seen += page
            if last_round and not page:
                return seen

    readers = [asyncio.create_task(read(limit)) for limit in (1, 7, 100)]
    readers.append(asyncio.create_task(read(5, project_id=PROJECT)))
    await asyncio.gather(*(write() for _ in range(8)))
    writing = False
    expected = [entry.event for entry in opened.told]
    assert len(expected) == 8 * 12 * 4
    for seen in await asyncio.gather(*readers):
        assert seen == expected


async def check_cancelled_writers(opened: Opened) -> None:
    """A cancelled write happened as a whole or not at all, and the store goes on."""
    for turns in range(12):
        drafts = opened.family(S.READY, S.READY)
        task = asyncio.create_task(opened.store.submit(Submit(drafts)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await opened.submit()
        found = await opened.store.jobs(PROJECT, JobFilter(ids=[draft.job.id for draft in drafts]), limit=ALL)
        assert len(found) in {0, 3}
        assert len(await opened.log(jobs=[draft.job.id for draft in drafts])) == 2 * len(found)


async def check_trim(opened: Opened) -> None:
    """Trimming removes families that ended before the time, with all that belongs to them, and raises the horizon."""
    store = opened.store
    old = await opened.complete(await opened.submit_keyed("key", "digest"), await opened.submit())
    await opened.delete(old[1])
    parent, children = await opened.submit_family(S.READY, S.READY)
    await opened.complete(*children)
    active = await opened.submit()
    half, (child, _) = await opened.submit_family(S.READY, S.READY)
    await opened.complete(child)
    opened.clock.advance(10)
    border = opened.clock.now_ms()
    (young,) = await opened.complete(await opened.submit())
    kept = await opened.log(jobs=[active.id, half.id, child.id, young.id])
    last = store.last_sequence()

    assert await store.trim(border, ALL) == 5
    assert await store.trim(border, ALL) == 0
    for job in (*old, parent, *children):
        assert await store.job(PROJECT, job.id) is None
        assert await opened.log(jobs=[job.id]) == []
    assert await store.results(PROJECT, [old[0].id, children[0].id]) == {}
    assert await store.jobs(PROJECT, JobFilter(), limit=ALL) == [young, await opened.now(half), active]
    horizon = await store.horizon()
    assert 0 < horizon < last
    assert [event.sequence for event in await opened.log(horizon)] == list(range(horizon + 1, last + 1))
    assert await opened.log(jobs=[active.id, half.id, child.id, young.id]) == kept
    assert (await store.verify()).problems == ()
    assert (await opened.submit_keyed("key", "another digest")).id != old[0].id


async def check_trim_in_portions(opened: Opened) -> None:
    """The limit bounds the families of one call; sequences go on after everything is gone."""
    await opened.complete(*[await opened.submit() for _ in range(5)])
    opened.clock.advance(10)
    last = opened.store.last_sequence()
    assert [await opened.store.trim(opened.clock.now_ms(), 2) for _ in range(4)] == [2, 2, 1, 0]
    assert await opened.log() == []
    assert (opened.store.last_sequence(), await opened.store.horizon()) == (last, last)
    await opened.submit()
    assert [event.sequence for event in await opened.log(last)] == [last + 1, last + 2]


async def check_verify_counts(opened: Opened) -> None:
    """A report counts jobs and events."""
    await opened.submit_family(S.READY, S.READY)
    await opened.complete(await opened.submit(), await opened.submit(S.READY, dry_run=False))
    report = await opened.store.verify()
    assert (report.jobs, report.events, report.problems) == (5, opened.store.last_sequence(), ())


async def check_verify_finds_damage(opened: Opened) -> None:
    """A job that completed without a result is told."""
    opened.sound = False
    job = await opened.cause(await opened.submit(), Cause.STARTED, Cause.COMPLETED, result=None)
    report = await opened.store.verify()
    assert len(report.problems) == 1
    assert job.id in report.problems[0]


async def check_closed_store(opened: Opened) -> None:
    """A store that closes writes what waits, and refuses everything after."""
    opened.sound = False
    store = opened.store
    drafts = [opened.draft() for _ in range(3)]
    waiting = [asyncio.ensure_future(store.submit(Submit([draft]))) for draft in drafts]
    await asyncio.sleep(0)
    await store.aclose()
    assert await asyncio.gather(*waiting) == [draft.job for draft in drafts]
    await refused(StorageError, store.submit(Submit([opened.draft()])))
    await refused(StorageError, store.job(PROJECT, "any"))
    await refused(StorageError, store.verify())
