"""Checks of guarded moves."""

from __future__ import annotations

import asyncio

from orchestrator.events import EventKind
from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.storage.abc import Move
from orchestrator.storage.ledger import deletion
from orchestrator.testing.stores.opened import PROJECT, RESULT, Opened, replace

K = EventKind
S = JobStatus


async def check_guard_refuses(opened: Opened) -> None:
    """A move made from another status or attempt, of an unknown or a deleted job, changes and records nothing."""
    ready = await opened.submit()
    started = await opened.cause(ready, Cause.STARTED)
    ended = await opened.cause(await opened.submit(), Cause.CANCELED)
    await opened.delete(ended)
    last = opened.store.last_sequence()
    refused = [
        opened.move(ready, Cause.CANCELED),
        opened.move(replace(started, attempt=started.attempt + 1), Cause.COMPLETED),
        opened.move(opened.draft().job, Cause.STARTED),
        deletion(ended, opened.clock.now_ms()),
    ]
    for move in refused:
        assert await opened.store.apply([move]) == [False]
    assert await opened.store.apply(refused) == [False] * len(refused)
    assert await opened.now(started) == started
    assert await opened.store.results(PROJECT, [started.id]) == {}
    assert opened.store.last_sequence() == last
    assert await opened.log(last) == []


async def check_late_result_is_refused(opened: Opened) -> None:
    """Attempts fence: once a job was requeued, and even when it runs again, the old attempt's result is refused."""
    first = await opened.cause(await opened.submit(), Cause.STARTED)
    requeued = await opened.cause(first, Cause.REQUEUED)
    assert (requeued.started_at, requeued.attempt) == (None, 1)
    assert await opened.store.apply([opened.move(first, Cause.COMPLETED)]) == [False]
    second = await opened.cause(requeued, Cause.STARTED)
    assert await opened.store.apply([opened.move(first, Cause.COMPLETED, result=b"[]")]) == [False]
    await opened.cause(second, Cause.COMPLETED)
    assert await opened.store.results(PROJECT, [first.id]) == {first.id: RESULT}


async def check_one_terminal_event(opened: Opened) -> None:
    """However many try to end a job at once, one does."""
    job = await opened.cause(await opened.submit(), Cause.STARTED)
    causes = [Cause.COMPLETED, Cause.FAILED, Cause.CANCELED, Cause.REQUEUED] * 3
    answers = await asyncio.gather(*(opened.store.apply([opened.move(job, cause)]) for cause in causes))
    assert [answer for answer in answers if answer == [True]] == [[True]]
    assert len(await opened.kinds(job)) == 4


async def check_moves_of_one_apply(opened: Opened) -> None:
    """Moves of one apply are answered one by one; those of one job happen in their order; a refused one stops none."""
    jobs = [await opened.submit() for _ in range(3)]
    starts = [opened.move(job, Cause.STARTED) for job in jobs]
    ends = [opened.move(start.after, Cause.COMPLETED) for start in starts]
    stranger = opened.move(opened.draft().job, Cause.STARTED)
    again = opened.move(jobs[0], Cause.STARTED)
    assert await opened.store.apply([*starts, stranger, *ends, again]) == [True] * 3 + [False] + [True] * 3 + [False]
    for job in jobs:
        assert await opened.kinds(job) == [K.JOB_SUBMITTED, K.JOB_READY, K.JOB_STARTED, K.JOB_COMPLETED]
    assert await opened.store.apply([]) == []


async def check_progress_moves_nothing(opened: Opened) -> None:
    """Progress is recorded under the guard and leaves the status."""
    job = await opened.cause(await opened.submit(), Cause.STARTED)
    move = Move(job, job, K.JOB_PROGRESS, opened.clock.now_ms(), data={"done": 0.5})
    assert await opened.store.apply([move]) == [True]
    event = (await opened.log())[-1]
    assert (event.kind, event.before, event.after, event.data) == (K.JOB_PROGRESS, S.STARTED, S.STARTED, {"done": 0.5})
    await opened.cause(job, Cause.COMPLETED)
    assert await opened.store.apply([move]) == [False]
