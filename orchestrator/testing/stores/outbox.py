"""Checks of the outbox: what enters it with an event, what becomes of it, and what nobody else's commit may feel."""

from __future__ import annotations

import asyncio

from orchestrator.errors import StorageError
from orchestrator.events import EventKind
from orchestrator.hooks import Delivery, DeliveryAttempt, DeliveryState
from orchestrator.lifecycle import Cause, JobStatus
from orchestrator.storage.abc import Draft, Submit
from orchestrator.testing.stores.opened import ALL, Opened, refused, replace

S = JobStatus
D = DeliveryState


def _settled(delivery: Delivery, state: DeliveryState, at: int) -> Delivery:
    return replace(delivery, state=state, attempts=1, settled_at=at, detail="said so")


def _line(delivery: Delivery, number: int, at: int = 0) -> DeliveryAttempt:
    return DeliveryAttempt(
        hook_id=delivery.hook_id,
        delivery_id=delivery.id,
        kind=delivery.event.kind,
        number=number,
        at=at,
        verdict="retry",
        detail="HTTP 500",
        duration_ms=7,
        job_id=delivery.event.job_id,
    )


async def _pending(opened: Opened, hook_id: str = "hook-1") -> list[Delivery]:
    return await opened.store.outbox.pending(hook_id, limit=ALL)


async def check_outbox_row_comes_with_its_event(opened: Opened) -> None:
    """A routed event has one row for each hook once its commit is answered; other events and older ones have none."""
    await opened.complete(await opened.submit())
    await opened.hook("hook-1")
    await opened.hook("hook-2")
    assert await opened.store.outbox.waiting() == []
    job = await opened.cause(await opened.submit(), Cause.STARTED)
    assert await _pending(opened) == []
    await opened.cause(job, Cause.FAILED)
    ended = (await opened.log())[-1]
    for hook_id in ("hook-1", "hook-2"):
        (delivery,) = await _pending(opened, hook_id)
        assert delivery == Delivery(id=f"{hook_id}-{ended.sequence}", hook_id=hook_id, event=ended, due_at=ended.at)
    assert await opened.store.outbox.waiting() == ["hook-1", "hook-2"]


async def check_outbox_is_in_log_order(opened: Opened) -> None:
    """Pending deliveries stand in the order of their events, families and concurrent writers included."""
    await opened.hook("hook-1")
    _, children = await opened.submit_family(S.READY, S.READY)
    jobs = [await opened.submit() for _ in range(5)]
    await asyncio.gather(*(opened.cause(job, Cause.STARTED, Cause.COMPLETED) for job in [*jobs, *children]))
    found = [delivery.event for delivery in await _pending(opened)]
    ends = [event for event in await opened.log() if event.kind is EventKind.JOB_COMPLETED]
    assert len(ends) == 8
    assert found == ends
    assert [delivery.event for delivery in await opened.store.outbox.pending("hook-1", limit=3)] == ends[:3]


async def check_refused_batch_leaves_no_outbox_rows(opened: Opened) -> None:
    """What is not committed has no deliveries: neither a refused submit, nor a move whose guard fails."""
    await opened.hook("hook-1")
    job = await opened.submit()
    taken = Draft(replace(opened.draft(S.FAILED).job, id=job.id))
    await refused(StorageError, opened.store.submit(Submit([opened.draft(S.FAILED), taken])))
    cancel = opened.move(job, Cause.CANCELED)
    assert await opened.store.apply([cancel]) == [True]
    assert await opened.store.apply([cancel]) == [False]
    assert [delivery.event.kind for delivery in await _pending(opened)] == [EventKind.JOB_CANCELED]


async def check_removed_hook_takes_everything_along(opened: Opened) -> None:
    """A removed hook leaves no deliveries and no log, and what still is routed to it hurts no transition."""
    await opened.hook("hook-1")
    await opened.hook("hook-2")
    await opened.cause(await opened.submit(), Cause.CANCELED)
    (delivery,) = await _pending(opened)
    await opened.store.outbox.record([], [_line(delivery, 1)])
    await opened.store.outbox.remove_hook("hook-1")
    await opened.cause(await opened.submit(), Cause.CANCELED)
    await opened.store.outbox.record([_settled(delivery, D.DELIVERED, 1)], [_line(delivery, 2)])
    assert await _pending(opened) == []
    assert await opened.store.outbox.log("hook-1", limit=ALL) == []
    assert [hook.id for hook in await opened.store.outbox.hooks()] == ["hook-2"]
    assert len(await _pending(opened, "hook-2")) == 2


async def check_hooks_are_kept(opened: Opened) -> None:
    """Hooks come back as they were written; an id is taken once; replacing an unknown one makes none."""
    one = await opened.hook("hook-1")
    two = await opened.hook("hook-2", project="project-2")
    assert await opened.store.outbox.hooks() == [one, two]
    await refused(StorageError, opened.store.outbox.add_hook(one))
    changed = replace(one, name="vqe-*", kinds=(EventKind.JOB_STARTED,), target={"to": ["Ω", {"deep": 1}]})
    await opened.store.outbox.replace_hook(changed)
    await opened.store.outbox.replace_hook(replace(one, id="hook-3"))
    assert await opened.store.outbox.hooks() == [changed, two]


async def check_recorded_attempts(opened: Opened) -> None:
    """A recorded delivery stands where it was put; a settled one waits no more; the log is latest first, by page."""
    await opened.hook("hook-1")
    for _ in range(3):
        await opened.cause(await opened.submit(), Cause.CANCELED)
    first, second, third = await _pending(opened)
    later = replace(second, attempts=1, due_at=second.due_at + 5_000, detail="HTTP 500")
    await opened.store.outbox.record(
        [_settled(first, D.DELIVERED, 7), later, _settled(third, D.DEAD, 8)],
        [_line(delivery, number) for number, delivery in enumerate((first, second, third), 1)],
    )
    assert await _pending(opened) == [later]
    assert await opened.store.outbox.dead("hook-1", limit=ALL) == [_settled(third, D.DEAD, 8)]
    await opened.store.outbox.record([replace(first, attempts=9)], [])
    assert await _pending(opened) == [later]
    log = await opened.store.outbox.log("hook-1", limit=ALL)
    assert [replace(line, position=0) for line in log] == [_line(third, 3), _line(second, 2), _line(first, 1)]
    assert await opened.store.outbox.log("hook-1", limit=1) == log[:1]
    assert await opened.store.outbox.log("hook-1", limit=ALL, before=log[0].position) == log[1:]


async def check_revived_deliveries(opened: Opened) -> None:
    """One delivery, delivered or dead, or all dead ones, wait again in their old place, under their old id."""
    await opened.hook("hook-1")
    for _ in range(4):
        await opened.cause(await opened.submit(), Cause.CANCELED)
    one, two, three, four = await _pending(opened)
    await opened.store.outbox.record(
        [_settled(one, D.DELIVERED, 7), _settled(two, D.DEAD, 7), _settled(three, D.DEAD, 7)], []
    )
    assert await opened.store.outbox.revive("hook-1", one.id, due_at=99) == 1
    assert [delivery.id for delivery in await _pending(opened)] == [one.id, four.id]
    assert await opened.store.outbox.revive("hook-1", None, due_at=99) == 2
    again = await _pending(opened)
    assert [delivery.id for delivery in again] == [one.id, two.id, three.id, four.id]
    assert {(each.attempts, each.due_at, each.settled_at) for each in again[:3]} == {(0, 99, None)}
    assert await opened.store.outbox.revive("hook-1", "unknown", due_at=99) == 0
    assert await opened.store.outbox.revive("hook-2", one.id, due_at=99) == 0


async def check_gathered_deliveries(opened: Opened) -> None:
    """Deliveries that were gathered are found by their batch and stay in it while they wait; what is settled, or
    of others, is not gathered, and a settled one that waits again belongs to no batch.
    """
    outbox = opened.store.outbox
    await opened.hook("hook-1")
    await opened.hook("hook-2")
    for _ in range(4):
        await opened.cause(await opened.submit(), Cause.CANCELED)
    one, two, three, four = await _pending(opened)
    await outbox.record([_settled(one, D.DELIVERED, 7)], [])
    await outbox.gather([one, two, three], two.id)
    two, three = (replace(each, batch=two.id) for each in (two, three))
    assert await _pending(opened) == [two, three, four]
    assert await outbox.pending("hook-1", limit=ALL, batch=two.id) == [two, three]
    assert await outbox.pending("hook-1", limit=1, batch=two.id) == [two]
    assert await outbox.pending("hook-1", limit=ALL, batch=one.id) == []
    assert await outbox.pending("hook-2", limit=ALL, batch=two.id) == []
    await outbox.record([replace(two, attempts=1, due_at=99)], [])
    assert await outbox.revive("hook-1", two.id, due_at=77) == 1
    assert await outbox.pending("hook-1", limit=ALL, batch=two.id) == [replace(two, due_at=77), three]
    await outbox.record([_settled(two, D.DELIVERED, 8), _settled(three, D.DEAD, 8)], [])
    assert await outbox.revive("hook-1", two.id, due_at=99) == await outbox.revive("hook-1", None, due_at=99) == 1
    assert [each.batch for each in await _pending(opened)] == [None, None, None]


async def check_disabled_hook_buries_its_deliveries(opened: Opened) -> None:
    """When a hook is disabled its pending deliveries are dead; those of others wait on."""
    hook = await opened.hook("hook-1")
    await opened.hook("hook-2")
    await opened.cause(await opened.submit(), Cause.CANCELED)
    await opened.store.outbox.replace_hook(replace(hook, disabled_at=5, disabled_reason="gone"))
    assert await opened.store.outbox.waiting() == ["hook-2"]
    (dead,) = await opened.store.outbox.dead("hook-1", limit=ALL)
    assert (dead.settled_at, dead.state) == (5, D.DEAD)


async def check_pruned_outbox(opened: Opened) -> None:
    """Pruning takes what was settled and written before a time, a bounded number at once, and nothing that waits."""
    await opened.hook("hook-1")
    for _ in range(4):
        await opened.cause(await opened.submit(), Cause.CANCELED)
    one, two, three, four = await _pending(opened)
    await opened.store.outbox.record(
        [_settled(one, D.DELIVERED, 10), _settled(two, D.DEAD, 20), _settled(three, D.DEAD, 30)],
        [_line(one, 1, at=10), _line(two, 1, at=20), _line(three, 1, at=30)],
    )
    assert await opened.store.outbox.prune(30, limit=1) == 2
    assert await opened.store.outbox.prune(30, limit=ALL) == 2
    assert await opened.store.outbox.prune(30, limit=ALL) == 0
    assert [delivery.id for delivery in await opened.store.outbox.dead("hook-1", limit=ALL)] == [three.id]
    assert [line.at for line in await opened.store.outbox.log("hook-1", limit=ALL)] == [30]
    assert await _pending(opened) == [four]


async def check_deliveries_outlive_retention(opened: Opened) -> None:
    """Retention of jobs and events takes no delivery away that still waits."""
    await opened.hook("hook-1")
    await opened.cause(await opened.submit(), Cause.CANCELED)
    (delivery,) = await _pending(opened)
    opened.clock.advance(1)
    assert await opened.store.trim(opened.clock.now_ms(), ALL) == 1
    assert await _pending(opened) == [delivery]
