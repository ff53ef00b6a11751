"""Checks of parents and children: a parent's status is that of its children, in the same commit."""

from __future__ import annotations

from orchestrator.events import EventKind
from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.model import Job, Outcome
from orchestrator.storage.ledger import cancellation, deletion
from orchestrator.testing.stores.opened import FAILURE, PROJECT, RESULT, Opened, replace

K = EventKind
S = JobStatus
C = Cause


async def check_family_is_stored_whole(opened: Opened) -> None:
    """A parent has no input, its children have, and come back in circuit order."""
    parent, children = await opened.submit_family(S.READY, S.SUBMITTED, S.READY)
    assert await opened.store.children(PROJECT, parent.id) == children
    assert await opened.store.input(PROJECT, parent.id) is None
    assert parent.children == 3


async def check_parent_follows_to_the_end(opened: Opened) -> None:
    """A parent is ready with its first child, started with it, tells progress, and completes with its last child."""
    parent, children = await opened.submit_family(S.SUBMITTED, S.SUBMITTED)
    assert parent.status is S.SUBMITTED
    first, second = [await opened.cause(child, C.READY) for child in children]
    assert (await opened.now(parent)).status is S.READY
    first = await opened.cause(first, C.STARTED)
    assert (await opened.now(parent)).status is S.STARTED
    assert (await opened.now(parent)).started_at == opened.clock.now_ms()
    outcome = Outcome(execution_ms=7)
    for child in (first, await opened.cause(second, C.STARTED)):
        assert (await opened.now(parent)).status is S.STARTED
        move = opened.move(child, C.COMPLETED)
        move.after = replace(move.after, outcome=outcome)
        assert await opened.store.apply([move]) == [True]
    ended = await opened.now(parent)
    assert (ended.status, ended.outcome.execution_ms) == (S.COMPLETED, 14)
    events = await opened.log(jobs=[parent.id])
    assert [event.kind for event in events] == [
        K.JOB_SUBMITTED,
        K.JOB_READY,
        K.JOB_STARTED,
        K.JOB_PROGRESS,
        K.JOB_COMPLETED,
    ]
    assert events[3].data == {"done": 1, "total": 2}


async def check_parent_follows_in_the_same_commit(opened: Opened) -> None:
    """What a child did and what follows for its parent is told together, the child first."""
    parent, (child, _) = await opened.submit_family(S.READY, S.READY)
    opened.told.clear()
    await opened.cause(child, C.STARTED)
    assert [entry.event.job_id for entry in opened.told] == [child.id, parent.id]


async def check_whole_family_in_one_apply(opened: Opened) -> None:
    """All steps of all children in one apply bring the parent all the way, by legal steps."""
    parent, children = await opened.submit_family(*[S.SUBMITTED] * 20)
    moves = []
    for cause in (C.READY, C.STARTED, C.COMPLETED):
        step = [opened.move(child, cause) for child in children]
        children = [move.after for move in step]
        moves += step
    assert await opened.store.apply(moves) == [True] * 60
    assert (await opened.now(parent)).status is S.COMPLETED
    assert await opened.store.results(PROJECT, [child.id for child in children]) == {
        child.id: RESULT for child in children
    }


async def check_progress_of_parents_never_goes_back(opened: Opened) -> None:
    """Each progress event of a parent tells more children than the one before, also within one apply."""
    parent, (one, two, _) = await opened.submit_family(S.READY, S.READY, S.READY)
    start = opened.move(two, C.STARTED)
    now = opened.clock.now_ms()
    assert await opened.store.apply([cancellation(one, now), start, cancellation(start.after, now)]) == [True] * 3
    progress = [
        event.data["done"] for event in await opened.log(jobs=[parent.id], kinds=[K.JOB_PROGRESS]) if event.data
    ]
    assert progress == [1, 2]


async def check_failed_child_fails_its_parent(opened: Opened) -> None:
    """The parent fails with the failure of its first failed child, and its active children are canceled with it."""
    parent, children = await opened.submit_family(S.READY, S.READY, S.READY, S.SUBMITTED)
    await opened.complete(children[0])
    last = opened.store.last_sequence()
    await opened.cause(children[2], C.STARTED, C.FAILED)
    failed = await opened.now(parent)
    assert (failed.status, failed.outcome.failure) == (S.FAILED, FAILURE)
    assert await opened.statuses(children) == [S.COMPLETED, S.CANCELED, S.FAILED, S.CANCELED]
    told = [event for event in await opened.log(last) if event.job_id == parent.id]
    assert [event.kind for event in told] == [K.JOB_FAILED]
    assert told[0].data == {"failure": {"code": FAILURE.code, "message": FAILURE.message}}
    assert await opened.store.apply([opened.move(children[1], C.STARTED)]) == [False]


async def check_canceled_children_cancel_their_parent(opened: Opened) -> None:
    """A parent is canceled by canceling its children; completed ones keep their results."""
    parent, children = await opened.submit_family(S.READY, S.READY, S.SUBMITTED)
    await opened.complete(children[0])
    now = opened.clock.now_ms()
    assert await opened.store.apply([cancellation(child, now) for child in children[1:]]) == [True, True]
    assert await opened.statuses([parent, *children]) == [S.CANCELED, S.COMPLETED, S.CANCELED, S.CANCELED]
    assert list(await opened.store.results(PROJECT, [child.id for child in children])) == [children[0].id]


async def check_deleted_parent_takes_its_children_along(opened: Opened) -> None:
    """Deleting a parent hides its children, their inputs and results; the log tells of each."""
    parent, children = await opened.submit_family(S.READY, S.READY)
    await opened.complete(*children)
    last = opened.store.last_sequence()
    await opened.delete(await opened.now(parent))
    for job in (parent, *children):
        assert await opened.store.job(PROJECT, job.id) is None
        assert await opened.store.input(PROJECT, job.id) is None
    assert await opened.store.children(PROJECT, parent.id) == []
    assert await opened.store.results(PROJECT, [child.id for child in children]) == {}
    assert [event.kind for event in await opened.log(last)] == [K.JOB_DELETED] * 3


async def check_deleted_child_still_counts(opened: Opened) -> None:
    """Deleting an ended child leaves its parent's status as it was, and to come."""
    parent, (one, two) = await opened.submit_family(S.READY, S.READY)
    (one,) = await opened.complete(one)
    await opened.delete(one)
    assert await opened.store.children(PROJECT, parent.id) == [two]
    await opened.complete(two)
    assert (await opened.now(parent)).status is S.COMPLETED


async def check_requeue_of_the_only_started_child(opened: Opened) -> None:
    """A parent goes back with the only child that ran, whatever its other children do, and forward again."""
    for other in (S.READY, S.SUBMITTED):
        parent, (child, _) = await opened.submit_family(S.READY, other)
        child = await opened.cause(child, C.STARTED, C.REQUEUED)
        back = await opened.now(parent)
        assert (back.status, back.started_at) == (S.READY, None)
        assert (await opened.kinds(parent))[-1] is K.JOB_REQUEUED
        await opened.cause(child, C.STARTED)
        assert (await opened.now(parent)).status is S.STARTED


async def check_requeue_beside_an_ended_child(opened: Opened) -> None:
    """A parent of which a child has ended has begun, and stays so."""
    parent, (one, two) = await opened.submit_family(S.READY, S.READY)
    await opened.complete(one)
    await opened.cause(two, C.STARTED, C.REQUEUED)
    assert (await opened.now(parent)).status is S.STARTED


async def check_family_that_ends_at_once(opened: Opened) -> None:
    """Children that failed the check at the submit fail the parent there."""
    parent, children = await opened.submit_family(S.FAILED, S.FAILED)
    assert await opened.statuses([parent, *children]) == [S.FAILED] * 3
    moves = [deletion(parent, opened.clock.now_ms())]
    assert await opened.store.apply(moves) == [True]


async def check_families_do_not_mix(opened: Opened) -> None:
    """What happens in one family leaves another's parent alone."""
    parents: list[tuple[Job, list[Job]]] = [await opened.submit_family(S.READY, S.READY) for _ in range(3)]
    moves = [opened.move(parents[0][1][0], C.STARTED), opened.move(parents[2][1][1], C.FAILED)]
    assert await opened.store.apply(moves) == [True, True]
    assert await opened.statuses([parent for parent, _ in parents]) == [S.STARTED, S.READY, S.FAILED]
