"""Reading events: history, then live, resumable anywhere."""

import random
from collections.abc import AsyncIterator
from contextlib import aclosing

import anyio
import pytest

from orchestrator import subscription
from orchestrator.errors import CursorExpired, InvalidCursor, InvalidRequest
from orchestrator.events import Event
from orchestrator.service import Orchestrator
from orchestrator.subscription import Delivered, FeedItem, Gap, Live
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import UncertainStore, turns


async def everything(service: Orchestrator) -> list[Event]:
    return await service.store.events(0, limit=100_000)


async def test_history_comes_first_then_a_mark_then_what_happens() -> None:
    """Events before the mark were committed before, those after it since; `latest` has no history."""
    async with serving(ScriptedAdapter()) as service:
        old = await service.submit(FLIP, backend="scripted")
        await service.wait(old.id)
        async with aclosing(service.events("earliest")) as items, aclosing(service.events()) as news:
            assert isinstance(await anext(news), Live)
            history = [item async for item in _until_live(items)]
            assert [event.job_id for event in history] == [old.id] * 4
            new = await service.submit(FLIP, backend="scripted")
            await service.wait(new.id)
            for reader in (items, news):
                for _ in range(4):
                    item = await anext(reader)
                    assert isinstance(item, Delivered)
                    assert item.event.job_id == new.id


async def _until_live(items: AsyncIterator[FeedItem]) -> AsyncIterator[Event]:
    async for item in items:
        if isinstance(item, Live):
            return
        assert isinstance(item, Delivered)
        yield item.event


@pytest.mark.parametrize("seed", range(12))
async def test_readers_that_leave_after_each_item_miss_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resuming from the cursor of any item, under commits, over small pages and tails: no gap, no duplicate."""
    monkeypatch.setattr(subscription, "PAGE", 3)
    monkeypatch.setattr(subscription, "TAIL", 4)
    rng = random.Random(seed)
    clock = ManualClock()
    async with serving(ScriptedAdapter(), store=UncertainStore(clock, rng), clock=clock, seed=seed) as service:
        read: dict[int, list[Event]] = {reader: [] for reader in range(4)}

        async def reader(number: int) -> None:
            cursor = "earliest"
            while True:
                async with aclosing(service.events(cursor)) as items:
                    for _ in range(rng.randrange(1, 6)):
                        item = await anext(items)
                        cursor = item.cursor
                        if isinstance(item, Delivered):
                            read[number].append(item.event)
                        await turns(rng.randrange(4))

        async with anyio.create_task_group() as tasks:
            for number in read:
                tasks.start_soon(reader, number)
            jobs = []
            for _ in range(15):
                circuits = FLIP if rng.random() < 0.5 else [FLIP, FLIP]
                jobs.append(await service.submit(circuits, backend="scripted"))
                await turns(rng.randrange(20))
            for job in jobs:
                await service.wait(job.id)
            for _ in range(5_000):
                if all(len(events) >= service.store.last_sequence() for events in read.values()):
                    break
                await turns(1)
            tasks.cancel_scope.cancel()
        log = await everything(service)
        assert [event.sequence for event in log] == list(range(1, len(log) + 1))
        for events in read.values():
            assert events == log


async def test_filters_choose_and_lose_nothing() -> None:
    """By job, by kind, by project: exactly the matching events, with children under their parent's name."""
    async with serving(ScriptedAdapter()) as service:
        other = (await service.accounts.add_project("other")).id
        family = await service.submit([FLIP, FLIP], backend="scripted")
        single = await service.submit(FLIP, backend="scripted")
        foreign = await service.submit(FLIP, backend="scripted", project=other)
        for job, project in ((family, None), (single, None), (foreign, other)):
            await service.wait(job.id, project=project)
        log = await everything(service)

        async def history(**selection: object) -> list[Event]:
            async with aclosing(service.events("earliest", **selection)) as items:  # type: ignore[arg-type]
                return [event async for event in _until_live(items)]

        assert await history() == [event for event in log if event.project_id != other]
        assert await history(project=other) == [event for event in log if event.project_id == other]
        assert await history(jobs=[single.id]) == [event for event in log if event.job_id == single.id]
        assert await history(jobs=[foreign.id]) == []
        kinds = await history(kinds=["job.completed"])
        assert {event.kind for event in kinds} == {"job.completed"}
        assert len(kinds) == 4
        both = await history(jobs=[single.id], kinds=["job.ready"])
        assert [(event.job_id, event.kind) for event in both] == [(single.id, "job.ready")]


async def test_cursors_of_other_logs_are_refused() -> None:
    """A cursor of another epoch, of the future, or no cursor at all."""
    async with serving(ScriptedAdapter()) as service, serving(ScriptedAdapter()) as other:
        await service.wait((await service.submit(FLIP, backend="scripted")).id)
        epoch = service.store.epoch
        for cursor in (other.last_cursor(), f"{epoch}:99", f"{epoch}:-1", f"{epoch}:", "", "7", f"{epoch}:٣"):
            with pytest.raises(InvalidCursor):
                await anext(service.events(cursor))


async def test_retention_expires_cursors_and_makes_no_silent_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a trim a cursor before the horizon has expired, a reader it overtook is told, `earliest` tells of it."""
    monkeypatch.setattr(subscription, "PAGE", 2)
    monkeypatch.setattr(subscription, "TAIL", 1)
    async with serving(ScriptedAdapter()) as service:
        for _ in range(3):
            await service.wait((await service.submit(FLIP, backend="scripted")).id)
        async with aclosing(service.events("earliest")) as items:
            first = await anext(items)
            await anext(items)
            assert await service.store.trim(service.clock.now_ms() + 1, 2) == 2
            with pytest.raises(CursorExpired) as raised:
                async for _ in items:
                    pass
        assert raised.value.resume == service.last_cursor()
        with pytest.raises(CursorExpired):
            await anext(service.events(first.cursor))
        async with aclosing(service.events("earliest")) as items:
            gap = await anext(items)
            assert isinstance(gap, Gap)
            history = [event async for event in _until_live(items)]
            assert (gap.cursor, len(history)) == (service.event_log.cursor(history[0].sequence - 1), 4)
        async with aclosing(service.events(gap.cursor)) as items:
            assert [event async for event in _until_live(items)] == history
        assert (await service.verify()).problems == ()


async def test_the_snapshot_of_a_gap_tells_of_jobs_that_began_before_it() -> None:
    """Their first events lie before the horizon, which rose with another job's end; while active they are told."""
    adapter = ScriptedAdapter(held=True, concurrency=2)
    async with serving(adapter) as service:
        held = await service.submit(FLIP, backend="scripted")
        await adapter.until_seen(1)
        gone = await service.submit(FLIP, backend="scripted", shots=2)
        await service.cancel([gone.id])
        assert await service.store.trim(service.clock.now_ms() + 1, 10) == 1
        async with aclosing(service.events("earliest")) as items:
            gap = await anext(items)
            assert isinstance(gap, Gap)
            assert [(job["id"], job["status"]) for job in gap.snapshot["jobs"]] == [(held.id, "started")]
            assert isinstance(await anext(items), Live)
            await service.cancel([held.id])
            news = await anext(items)
            assert isinstance(news, Delivered)
            assert (news.event.job_id, news.event.kind) == (held.id, "job.canceled")


async def test_selections_name_what_there_is() -> None:
    """An alias means its backend, a family its kinds; a name of nothing is an error at once, and not silence."""
    async with serving(ScriptedAdapter(backend="qpu.mine")) as service:
        await service.wait((await service.submit(FLIP, backend="mine")).id)
        async with aclosing(service.events("earliest", backends=["mine"], kinds=["job.*"])) as items:
            assert len([event async for event in _until_live(items)]) == 4
        for field, wrong in (
            ("backend", {"backends": ["mien"]}),
            ("backend", {"backends": [""]}),
            ("kind", {"kinds": ["job.done"]}),
            ("kind", {"kinds": ["hook.test"]}),
            ("job", {"jobs": [""]}),
            ("session", {"sessions": [""]}),
        ):
            with pytest.raises(InvalidRequest) as refused:
                service.events("earliest", **wrong)  # type: ignore[arg-type]
            assert refused.value.fields == (field,)
