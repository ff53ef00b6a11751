"""The delivery engine: order, retries, digests, crashes; on a clock that stands still."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from orchestrator.errors import StorageError
from orchestrator.notify import delivery as engine
from orchestrator.notify.abc import Attempted, Notification, Verdict
from orchestrator.testing.channels import DELIVERED, RecordingChannel
from tests.unit.notify.delivering import Post, hook, jobs_of

RETRY = Attempted(verdict=Verdict.RETRY, detail="HTTP 500")
GONE = Attempted(verdict=Verdict.GONE, detail="HTTP 410")
DAY_S = 86_400.0


async def test_order_is_kept_over_retries() -> None:
    """What comes later waits for what is being retried; then all arrive in order, the retried under its old id."""
    channel = RecordingChannel(RETRY, RETRY)
    post = Post(channel)
    await post.open(hook())
    async with post.running():
        await post.fail(3)
        assert len(channel.attempts) == 1
        await post.clock.advanced(5.6)
        assert len(channel.attempts) == 2
        await post.clock.advanced(299)
        assert channel.delivered == []
        await post.clock.advanced(32)
    assert jobs_of(channel.delivered) == post.jobs
    assert len({notifications[0].id for _, notifications in channel.attempts[:3]}) == 1
    assert await post.pending() == []


async def test_dead_after_the_schedule() -> None:
    """After ten attempts a delivery is given up and the next has its turn; redelivered, it has its old id."""
    channel = RecordingChannel(*[RETRY] * 10)
    post = Post(channel)
    await post.open(hook())
    async with post.running() as deliverer:
        await post.fail(2)
        await post.clock.advanced(4 * DAY_S)
        assert jobs_of(channel.delivered) == post.jobs[1:]
        (dead,) = await post.dead()
        assert (dead.attempts, dead.detail) == (10, "HTTP 500")
        assert await post.store.outbox.revive("hook-1", None, due_at=post.clock.now_ms()) == 1
        deliverer.wake("hook-1")
        await post.clock.advanced(0)
    assert channel.delivered[-1].id == dead.id == channel.attempts[0][1][0].id
    numbers = [line.number for line in await post.store.outbox.log("hook-1", limit=100)]
    assert numbers == [1, 1, *range(10, 0, -1)]


async def test_rejected_is_dead_at_once() -> None:
    """A message that will never be accepted is not tried again, and holds nothing up."""
    channel = RecordingChannel(Attempted(verdict=Verdict.REJECTED, detail="550"))
    post = Post(channel)
    await post.open(hook())
    async with post.running():
        await post.fail(2)
    assert jobs_of(channel.delivered) == post.jobs[1:]
    assert [dead.detail for dead in await post.dead()] == ["550"]


async def test_gone_disables() -> None:
    """A target that wants no more disables its hook: nothing more is routed to it, what waited is dead."""
    channel = RecordingChannel(RETRY, GONE)
    post = Post(channel)
    await post.open(hook())
    async with post.running():
        await post.fail(2)
        await post.clock.advanced(10)
        await post.fail()
    assert len(channel.attempts) == 2
    assert len(await post.dead()) == 2
    assert await post.pending() == []
    (kept,) = await post.store.outbox.hooks()
    assert kept.disabled_reason == "HTTP 410"
    assert kept == post.rules.get("hook-1")


async def test_receiver_asks_for_time() -> None:
    """A receiver that says when to come back is not bothered before."""
    channel = RecordingChannel(Attempted(verdict=Verdict.RETRY, detail="HTTP 429", retry_after_s=1_000))
    post = Post(channel)
    await post.open(hook())
    async with post.running():
        await post.fail()
        await post.clock.advanced(999)
        assert len(channel.attempts) == 1
        await post.clock.advanced(2)
    assert jobs_of(channel.delivered) == post.jobs


async def test_hooks_do_not_wait_for_each_other() -> None:
    """A target that hangs or fails delays nobody but itself."""

    async def answer(target: Mapping[str, Any], _: Sequence[Notification]) -> Attempted:
        if target["to"] == "hangs":
            await anyio.sleep_forever()
        return RETRY if target["to"] == "fails" else DELIVERED

    channel = RecordingChannel(answer=answer)
    post = Post(channel)
    await post.open(hook("hook-1", "hangs"), hook("hook-2", "fails"), hook("hook-3", "works"))
    async with post.running():
        await post.fail(3)
    assert jobs_of(channel.delivered) == post.jobs


async def test_attempts_at_one_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many hooks there are, only so many attempts are made at one time; all have their turn."""
    monkeypatch.setattr(engine, "CONCURRENT", 3)
    go = anyio.Event()

    async def answer(*_: object) -> Attempted:
        await go.wait()
        return DELIVERED

    channel = RecordingChannel(answer=answer)
    post = Post(channel)
    await post.open(*(hook(f"hook-{number}") for number in range(10)))
    async with post.running():
        await post.fail()
        assert len(channel.attempts) == 3
        go.set()
        await channel.received(10)


async def test_slow_receivers_of_one_project_delay_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many receivers of a project hang, there is room for attempts of others."""
    monkeypatch.setattr(engine, "OF_PROJECT", 2)
    monkeypatch.setattr(engine, "CONCURRENT", 3)

    async def answer(target: Mapping[str, Any], _: Sequence[Notification]) -> Attempted:
        if target["to"] == "hangs":
            await anyio.sleep_forever()
        return DELIVERED

    channel = RecordingChannel(answer=answer)
    post = Post(channel)
    await post.open(*(hook(f"hook-{number}", "hangs") for number in range(5)), hook("other", "works", "project-2"))
    async with post.running():
        await post.fail()
        assert len(channel.attempts) == 2
        await post.fail(3, "project-2")
    assert len(channel.delivered) == 3


async def test_digest() -> None:
    """The first of many goes at once; those within the window come together, in order, as one delivery."""
    channel = RecordingChannel(digest_s=60)
    post = Post(channel)
    await post.open(hook())
    async with post.running():
        await post.fail()
        assert len(channel.attempts) == 1
        await post.fail(50)
        await post.clock.advanced(59)
        await post.fail(7)
        assert len(channel.attempts) == 1
        await post.clock.advanced(2)
        assert len(channel.attempts) == 2
        await post.clock.advanced(120)
        await post.fail()
    assert [len(notifications) for _, notifications in channel.attempts] == [1, 57, 1]
    assert jobs_of(channel.delivered) == post.jobs


async def test_failed_digest_keeps_its_members() -> None:
    """A digest is tried again as it was; what came since follows by itself."""
    channel = RecordingChannel(DELIVERED, RETRY, digest_s=60)
    post = Post(channel)
    await post.open(hook())
    async with post.running():
        await post.fail()
        await post.fail(3)
        await post.clock.advanced(60)
        await post.fail(2)
        await post.clock.advanced(120)
    assert [len(notifications) for _, notifications in channel.attempts] == [1, 3, 3, 2]
    assert jobs_of(channel.delivered) == post.jobs


async def test_crash_between_delivery_and_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that was made but not recorded is made again after the restart, under the same id."""
    channel = RecordingChannel()
    post = Post(channel)
    await post.open(hook())

    async def never(*_: object) -> None:
        raise StorageError("the machine is going down")

    with monkeypatch.context() as broken:
        broken.setattr(post.store.outbox, "record", never)
        async with post.running():
            await post.fail(2)
            await post.clock.advanced(3_600)
            assert len(channel.attempts) == 1  # to go on without a record would be a flood
    async with post.running():
        pass
    assert jobs_of(channel.delivered) == [post.jobs[0], *post.jobs]
    assert channel.delivered[0].id == channel.delivered[1].id


@pytest.mark.parametrize("first", [1, 3])
async def test_crash_between_delivery_and_record_of_a_digest(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """What went out together goes out again exactly so, under the ids it had; what came since follows by itself."""
    channel = RecordingChannel(digest_s=60)
    post = Post(channel)
    await post.open(hook())

    async def never(*_: object) -> None:
        raise StorageError("the machine is going down")

    await post.fail(first)
    with monkeypatch.context() as broken:
        broken.setattr(post.store.outbox, "record", never)
        async with post.running():
            await post.fail(2)
    async with post.running():
        await post.fail(4)
        await post.clock.advanced(60)
    assert [len(notifications) for _, notifications in channel.attempts] == [first, first, 6]
    assert channel.attempts[0][1] == channel.attempts[1][1]
    assert jobs_of(channel.delivered) == [*post.jobs[:first], *post.jobs]


async def test_a_member_of_a_digest_is_asked_for_again() -> None:
    """Redelivered while its digest waits for another try, it takes the digest along, and the schedule begins anew;
    redelivered later it goes by itself.
    """
    channel = RecordingChannel(RETRY, RETRY, digest_s=60)
    post = Post(channel)
    await post.open(hook())
    await post.fail(3)
    async with post.running() as deliverer:
        await post.clock.advanced(10)
        ids = [each.id for each in await post.pending()]
        assert await post.store.outbox.revive("hook-1", ids[1], due_at=post.clock.now_ms()) == 1
        deliverer.wake("hook-1")
        await post.settled()
        assert [len(notifications) for _, notifications in channel.attempts] == [3, 3, 3]
        assert len({tuple(each.id for each in notifications) for _, notifications in channel.attempts}) == 1
        assert await post.store.outbox.revive("hook-1", ids[1], due_at=post.clock.now_ms()) == 1
        deliverer.wake("hook-1")
        await post.clock.advanced(60)
    assert [each.id for each in channel.attempts[-1][1]] == [ids[1]]


async def test_crash_between_commit_and_delivery() -> None:
    """What was committed while nobody delivered is delivered at the next start."""
    channel = RecordingChannel()
    post = Post(channel)
    await post.open(hook())
    await post.fail(3)
    async with post.running():
        pass
    assert jobs_of(channel.delivered) == post.jobs


async def test_drain_waits_for_the_attempt_under_way() -> None:
    """At a stop the attempt being made is finished and recorded, and no further one begins."""
    go = anyio.Event()

    async def answer(*_: object) -> Attempted:
        await go.wait()
        return DELIVERED

    channel = RecordingChannel(answer=answer)
    post = Post(channel)
    await post.open(hook())
    async with post.running() as deliverer, anyio.create_task_group() as tasks:
        await post.fail(2)
        tasks.start_soon(deliverer.drain)
        await anyio.wait_all_tasks_blocked()
        assert len(channel.attempts) == 1
        go.set()
    assert len(channel.attempts) == 1
    assert [each.event.job_id for each in await post.pending()] == post.jobs[1:]


async def test_deliveries_wait_for_their_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a channel cannot be used its deliveries wait; once it can they arrive."""
    channel = RecordingChannel()
    post = Post(channel)
    await post.open(hook())

    async def broken(*_: object) -> None:
        raise RuntimeError("no route to the mail server")

    with monkeypatch.context() as breaking:
        breaking.setattr(channel, "open", broken)
        async with post.running():
            await post.fail(2)
            await post.clock.advanced(600)
            assert channel.attempts == []
            breaking.undo()
            await post.clock.advanced(60)
            assert jobs_of(channel.delivered) == post.jobs


@pytest.mark.parametrize("seed", range(25))
async def test_every_event_arrives_in_order_whatever_happens(seed: int) -> None:
    """Random failures, exceptions, hangs, kills and restarts: each hook gets every event of its project at least
    once, first arrivals in the order of the log, a repeated one under its id, and nothing of another project."""
    rng = random.Random(seed)

    async def answer(*_: object) -> Attempted:
        match rng.randrange(8):
            case 0:
                return RETRY
            case 1:
                raise OSError("cut off")
            case 2:
                await anyio.sleep_forever()
            case 3:
                await anyio.lowlevel.checkpoint()
        return DELIVERED

    channel = RecordingChannel(answer=answer, digest_s=rng.choice([0.0, 30.0]))
    post = Post(channel)
    names = ["hook-1", "hook-2"]
    await post.open(*(hook(name, name) for name in names), hook("hook-3", "hook-3", "project-2"))
    for _ in range(6):
        async with post.running():
            for _ in range(rng.randrange(4)):
                await post.fail(rng.randrange(4), settle=rng.random() < 0.5)
                await post.fail(rng.randrange(2), "project-2", settle=False)
                if rng.random() < 0.5:
                    await post.clock.advanced(rng.random() * 400)
    async with post.running():
        for _ in range(500):
            await post.clock.advanced(DAY_S / 10)
            if not await post.store.outbox.waiting():
                break
    for name in names:
        assert await post.pending(name) == []
        assert await post.dead(name) == []  # no seed fails one delivery eight times
        found: dict[str, str | None] = {}
        arrived = [each for target, each in _arrived(channel) if target == name]
        for each in arrived:
            assert found.setdefault(each.id, each.event.job_id) == each.event.job_id
        assert list(found.values()) == post.jobs


def _arrived(channel: RecordingChannel) -> list[tuple[str, Notification]]:
    """Target and notification of every delivered one, in order."""
    known = {each.id: target["to"] for target, each_of in channel.attempts for each in each_of}
    return [(known[each.id], each) for each in channel.delivered]
