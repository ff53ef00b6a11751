"""Children of one parent, handed over together."""

import random
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from orchestrator.backends.abc import Attempt, Capabilities, Emit, Ready
from orchestrator.circuits.ir import Circuit
from orchestrator.clock import SystemClock
from orchestrator.dispatch import queue
from orchestrator.dispatch.queue import Entry, WaitingQueue
from orchestrator.errors import WorkerLost
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobSpec, Result
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import turns

BODY = b"{}"
Page = list[tuple[Job, bytes, bytes | None]]


def entry(number: int, parent: str | None = None) -> Entry:
    spec = JobSpec(backend="b")
    job = Job(id=f"{number:06d}", project_id="p", spec=spec, status=JobStatus.READY, submitted_at=0, parent_id=parent)
    return Entry(job, BODY)


def numbers(entries: Sequence[Entry]) -> list[int]:
    return [int(item.job.id) for item in entries]


class Stored:
    """A store's ready jobs, and a queue of families onto them."""

    def __init__(self, entries: Sequence[Entry] = (), seed: int = 0) -> None:
        self.entries = {item.job.id: item for item in entries}
        self.held: set[str] = set()
        self.clock = ManualClock()
        self.rng = random.Random(seed)
        self.queue = WaitingQueue(self.clock, self.fetch, self.held, families=True)

    async def fetch(self, after: str | None, limit: int) -> Page:
        await turns(self.rng.randrange(3))
        page: Page = [tuple(self.entries[key]) for key in sorted(self.entries) if key > (after or "")]  # type: ignore[misc]
        await turns(self.rng.randrange(3))
        return page[:limit]

    async def take(self, limit: int = 1) -> list[int]:
        taken = await self.queue.take(limit)
        for item in taken:
            del self.entries[item.job.id]
        return numbers(taken)


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of a few jobs, read in pages of fewer."""
    monkeypatch.setattr(queue, "WINDOW_JOBS", 5)
    monkeypatch.setattr(queue, "PAGE", 3)
    monkeypatch.setattr(queue, "FIRST_PAGE", 2)


@pytest.mark.usefixtures("small_window")
async def test_a_family_is_whole_though_the_window_shows_a_part() -> None:
    """Read back after a restart in pages shorter than a family: each comes whole, in order, single jobs between."""
    stored = Stored(
        [entry(0), *(entry(n, "a") for n in range(1, 9)), entry(9), *(entry(n, "b") for n in range(10, 13))]
    )
    assert await stored.take() == [0]
    assert await stored.take() == list(range(1, 9))
    assert await stored.take(5) == [9]  # up to five: what is whole in view
    assert await stored.take(5) == [10, 11, 12]


@pytest.mark.usefixtures("small_window")
async def test_a_family_that_overflows_the_window_is_whole() -> None:
    """The window is full in the middle of a family's notice: the rest is read before the family goes."""
    stored = Stored()
    with anyio.move_on_after(0):
        await stored.take()
    await turns(10)
    family = [entry(n, "a") for n in range(3, 11)]
    for item in [entry(1), entry(2), *family]:
        stored.entries[item.job.id] = item
        stored.queue.offer(item)
    assert await stored.take(2) == [1, 2]
    assert await stored.take() == list(range(3, 11))


@pytest.mark.usefixtures("small_window")
@pytest.mark.parametrize("seed", range(60))
async def test_no_family_is_ever_split(seed: int) -> None:
    """Overflow, slow reads, several takers, commits nearly in order: each family is taken once, whole."""
    rng = random.Random(seed)
    families: list[list[Entry]] = []
    number = 0
    while number < 80:
        size = rng.choice([1, 1, 2, 5, 9])
        parent = f"p{number}" if size > 1 or rng.random() < 0.3 else None
        families.append([entry(number + n, parent) for n in range(size)])
        number += size
    expected = sorted(numbers(family) for family in families)
    for index in range(0, len(families), 4):  # ids are committed nearly in order
        part = families[index : index + 4]
        rng.shuffle(part)
        families[index : index + 4] = part
    stored = Stored(seed=seed)
    taken: list[list[int]] = []

    async def producer() -> None:
        for family in families:
            stored.entries |= {item.job.id: item for item in family}
            await turns(rng.randrange(3))
            for item in family:
                if item.job.id in stored.entries:
                    stored.queue.offer(item)
            await turns(rng.randrange(4))

    async def taker() -> None:
        while True:
            entries = await stored.queue.take(1)
            stored.held |= {item.job.id for item in entries}
            fresh = [item for item in entries if stored.entries.pop(item.job.id, None)]
            if fresh:  # the guarded write: only what is still ready runs
                taken.append(numbers(fresh))
            await turns(rng.randrange(6))
            stored.held -= {item.job.id for item in entries}

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(taker)
        await producer()
        for _ in range(400):
            if not stored.entries:
                break
            await turns(20)
        tasks.cancel_scope.cancel()
    assert sorted(taken) == expected


async def test_what_is_put_back_together_comes_back_together() -> None:
    """Delays with jitter do not tear a family: the first that is due brings the others."""
    stored = Stored()
    family = [entry(n, "a") for n in range(1, 4)]
    for place, item in enumerate(family):
        stored.queue.put_back(item, 5.0 + 10 * place)
    stored.queue.put_back(entry(9, "b"), 50.0)
    stored.clock.advance(6.0)
    stored.queue.release_due()
    assert numbers(await stored.queue.take(1)) == [1, 2, 3]
    assert len(stored.queue) == 1


async def test_what_ends_while_it_waits_is_not_handed_out() -> None:
    """A dropped job is gone from the window, from the delayed, and from a page that was being read meanwhile."""
    stored = Stored([entry(n, "a") for n in range(3)])
    taken: list[Entry] = []

    async def take() -> None:
        taken.extend(await stored.queue.take(1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await turns(1)
        assert stored.queue._refilling
        stored.queue.drop(entry(1).job.id)
    assert numbers(taken) == [0, 2]
    stored.queue.put_back(taken[0], 1.0)
    stored.queue.drop(taken[0].job.id)
    assert len(stored.queue) == 0


class Families(ScriptedAdapter):
    """Keeps what each take handed over; runs it at once."""

    def __init__(self, *, fails: bool = False, stuck: bool = False) -> None:
        super().__init__(families=True, batch=1, concurrency=1)
        self.taken: list[list[Attempt]] = []
        self.fails = fails
        self.stuck = stuck

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        while True:
            attempts = await ready.take(1, start=False)
            self.taken.append(attempts)
            self.begun(*attempts)
            if self.stuck:
                await emit.started(attempts)
                await anyio.sleep_forever()
            lost = self.fails and len(self.taken) == 1
            outcomes: list[tuple[Attempt, Result | WorkerLost]] = [
                (attempt, WorkerLost("once") if lost else zeros(attempt)) for attempt in attempts
            ]
            await emit.finished(outcomes)


async def test_an_adapter_of_families_gets_them_with_their_parent() -> None:
    """One take, all children in circuit order, the parent's record with each; a single job has none."""
    adapter = Families()
    async with serving(adapter) as service:
        circuits = [Circuit(qubits=1, name=str(number)) for number in range(30)]
        family = await service.submit(circuits, backend="scripted", metadata={"team": "a"})
        single = await service.submit(FLIP, backend="scripted")
        assert (await service.wait(family.id)).status is JobStatus.COMPLETED
        await service.wait(single.id)
        first, second = adapter.taken
        assert [attempt.job.spec.name for attempt in first] == [str(number) for number in range(30)]
        parents = {attempt.parent.id: attempt.parent.spec for attempt in first if attempt.parent is not None}
        assert list(parents) == [family.id]
        assert parents[family.id].metadata == {"team": "a"}
        assert second[0].parent is None


async def test_a_family_that_failed_for_a_while_is_tried_again_as_one() -> None:
    """Each child's retry has a delay of its own; the family stays one all the same."""
    adapter, clock = Families(fails=True), ManualClock()
    async with serving(adapter, clock=clock) as service:
        family = await service.submit([FLIP] * 12, backend="scripted")
        await adapter.until_seen(12)
        await turns(50)
        await clock.advanced(5.0)
        assert (await service.wait(family.id)).status is JobStatus.COMPLETED
        assert [len(taken) for taken in adapter.taken] == [12, 12]


async def test_canceled_children_do_not_go_and_the_rest_do(tmp_path: Path) -> None:
    """After a restart a family is read back whole, without those that were canceled while it waited."""
    stuck = Families(stuck=True)
    async with serving(stuck, data=tmp_path, clock=SystemClock()) as service:
        await service.submit(FLIP, backend="scripted")
        await stuck.until_seen(1)
        family = await service.submit([FLIP] * 40, backend="scripted")
        children = await service.children(family.id)
        await service.cancel([children[3].id, children[20].id])
    adapter = Families()
    async with serving(adapter, data=tmp_path, clock=SystemClock()) as service:
        await service.wait(family.id)
        assert [len(taken) for taken in adapter.taken] == [1, 38]
