"""The window onto what waits."""

import asyncio
import random

import anyio
import pytest
from anyio.lowlevel import checkpoint

from orchestrator.dispatch import queue
from orchestrator.dispatch.queue import Entry, WaitingQueue
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobSpec
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import turns

BODY = b"{}"
Page = list[tuple[Job, bytes, bytes | None]]


def job(number: int) -> Job:
    spec = JobSpec(backend="b")
    return Job(id=f"{number:06d}", project_id="p", spec=spec, status=JobStatus.READY, submitted_at=0)


class Backlog:
    """What a store holds: jobs that are ready, read as they were some turns ago."""

    def __init__(self, rng: random.Random) -> None:
        self.ready: dict[str, Job] = {}
        self.held: set[str] = set()
        self.clock = ManualClock()
        self.rng = rng
        self.reads = 0
        self.queue = WaitingQueue(self.clock, self.fetch, self.held)

    async def fetch(self, after: str | None, limit: int) -> Page:
        self.reads += 1
        await turns(self.rng.randrange(3))
        found = sorted(key for key in self.ready if key > (after or ""))[:limit]
        page: Page = [(self.ready[key], BODY, None) for key in found]
        await turns(self.rng.randrange(4))
        return page

    def commit(self, number: int) -> Entry:
        entry = Entry(job(number), BODY)
        self.ready[entry.job.id] = entry.job
        return entry


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of a few jobs, read in pages of fewer."""
    monkeypatch.setattr(queue, "WINDOW_JOBS", 5)
    monkeypatch.setattr(queue, "PAGE", 3)
    monkeypatch.setattr(queue, "FIRST_PAGE", 2)


@pytest.mark.usefixtures("small_window")
@pytest.mark.parametrize("seed", range(60))
async def test_no_job_is_lost_or_taken_twice(seed: int) -> None:
    """Overflow, late ids, slow reads, several takers, put backs: each job is run once, none is left."""
    rng = random.Random(seed)
    backlog = Backlog(rng)
    ran: list[str] = []
    total = 60
    numbers = list(range(total))
    for index in range(0, total, 7):  # ids are committed nearly in order
        part = numbers[index : index + 7]
        rng.shuffle(part)
        numbers[index : index + 7] = part

    async def producer() -> None:
        for number in numbers:
            entry = backlog.commit(number)
            await turns(rng.randrange(3))  # a reader may see the commit before we are told
            if entry.job.id not in backlog.ready:
                continue
            if rng.random() < 0.1:
                backlog.queue.overlook(entry.job.id)
            else:
                backlog.queue.offer(entry)
            await turns(rng.randrange(4))

    async def taker() -> None:
        while True:
            entries = await backlog.queue.take(rng.randrange(1, 4))
            for entry in entries:
                assert entry.job.id not in backlog.held
                backlog.held.add(entry.job.id)
            await turns(rng.randrange(6))
            for entry in entries:
                back = rng.random() < 0.2
                if not back:  # the guarded write: only what is still ready runs
                    ran.extend([entry.job.id] if backlog.ready.pop(entry.job.id, None) else [])
                backlog.held.discard(entry.job.id)
                if back:
                    backlog.queue.put_back(entry, rng.random())

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(taker)
        await producer()
        for _ in range(400):
            if not backlog.ready:
                break
            await backlog.clock.advanced(0.5)
            backlog.queue.release_due()
        tasks.cancel_scope.cancel()
    assert sorted(ran) == [job(number).id for number in range(total)]
    assert len(backlog.queue._waiters) == 0


@pytest.mark.usefixtures("small_window")
async def test_an_overflow_keeps_the_order() -> None:
    """What did not fit is read back later, oldest first."""
    backlog = Backlog(random.Random(1))
    backlog.queue.offer(backlog.commit(0))
    assert [entry.job.id for entry in await backlog.queue.take(1)] == [job(0).id]
    backlog.ready.clear()
    for number in range(1, 20):
        backlog.queue.offer(backlog.commit(number))
    assert len(backlog.queue) <= 5
    order = []
    while backlog.ready:
        for entry in await backlog.queue.take(2):
            order.append(entry.job.id)
            del backlog.ready[entry.job.id]
    assert order == [job(number).id for number in range(1, 20)]


async def test_a_resync_finds_what_nobody_told() -> None:
    """A job without a notice waits for the next look at the store, and is found then."""
    backlog = Backlog(random.Random(2))
    with anyio.move_on_after(0):
        await backlog.queue.take(1)
    backlog.queue.resync()
    async with anyio.create_task_group() as tasks:
        taken: list[Entry] = []

        async def take() -> None:
            taken.extend(await backlog.queue.take(1))

        tasks.start_soon(take)
        await turns(30)
        backlog.commit(7)
        await turns(30)
        assert taken == []
        backlog.queue.resync()
    assert [entry.job.id for entry in taken] == [job(7).id]


async def test_pages_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large inputs are read few at a time."""
    monkeypatch.setattr(queue, "WINDOW_BYTES", 10_000)
    jobs = {job(number).id: job(number) for number in range(100)}
    limits = []

    async def fetch(after: str | None, limit: int) -> Page:
        limits.append(limit)
        await checkpoint()
        page: Page = [(jobs[key], b"x" * 2_000, None) for key in sorted(jobs) if key > (after or "")]
        return page[:limit]

    waiting = WaitingQueue(ManualClock(), fetch, frozenset())
    for _ in range(100):
        assert len(await waiting.take(1)) == 1
        assert sum(entry.size for entry in waiting.entries) <= queue.FIRST_PAGE * 2_000
    assert set(limits[1:]) == {5}


async def test_a_cancelled_take_leaves_nothing_and_passes_its_turn_on() -> None:
    """Cancelled takers leave no waiters; one that was woken wakes the next."""
    backlog = Backlog(random.Random(3))
    for _ in range(100):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backlog.queue.take, 1)
            await turns(random.Random(0).randrange(12))
            tasks.cancel_scope.cancel()
    assert len(backlog.queue._waiters) == 0
    first, second = (asyncio.create_task(backlog.queue.take(1)) for _ in range(2))
    await turns(30)
    entry = backlog.commit(1)
    backlog.queue.offer(entry)
    first.cancel()
    assert await second == [entry]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_put_back_comes_first_when_its_time_has_come() -> None:
    """A delayed job waits for its time, then runs before younger ones; while it is held it stays away."""
    backlog = Backlog(random.Random(4))
    late, young = backlog.commit(1), backlog.commit(2)
    backlog.queue.put_back(late, 10.0)
    backlog.queue.put_back(late, 5.0)
    assert [entry.job.id for entry in await backlog.queue.take(5)] == [young.job.id]
    backlog.clock.advance(6.0)
    backlog.held.add(late.job.id)
    backlog.queue.release_due()
    assert backlog.queue.entries == ()
    backlog.held.clear()
    backlog.queue.release_due()
    assert await backlog.queue.take(5) == [late]
