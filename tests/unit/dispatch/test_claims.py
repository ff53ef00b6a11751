"""A job for which somebody waits begins in the commit that stores it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from orchestrator.backends.abc import Attempt, Capabilities, Emit, Ready
from orchestrator.dispatch.line import Line
from orchestrator.errors import StorageError
from orchestrator.events import EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, Result
from orchestrator.service import Orchestrator
from orchestrator.storage.abc import Committed, Draft, Idempotency, Submit
from orchestrator.storage.sqlite import writer
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros

K = EventKind
BEGUN = [K.JOB_SUBMITTED, K.JOB_READY, K.JOB_STARTED]


class Commits:
    """The kinds of events of each commit."""

    def __init__(self, service: Orchestrator) -> None:
        self.seen: list[list[EventKind]] = []
        service.bus.subscribe(self.notice)

    def notice(self, entries: Sequence[Committed]) -> None:
        self.seen.append([event.kind for event, _ in entries])


def line_of(service: Orchestrator) -> Line:
    return service._dispatcher.lines["scripted"]


async def waiting(service: Orchestrator) -> None:
    """Until a lane waits for jobs."""
    while line_of(service).ready.idle() is None:
        await checkpoint()


async def submit(service: Orchestrator) -> Job:
    return await service.submit(FLIP, backend="scripted")


async def test_a_job_somebody_waits_for_is_stored_as_started(tmp_path: Path) -> None:
    """Four events, two commits: what is known together is written together."""
    adapter = ScriptedAdapter(held=True)
    async with serving(adapter, data=tmp_path) as service:
        await waiting(service)
        commits = Commits(service)
        job = await submit(service)
        assert (job.status, job.attempt) == (JobStatus.STARTED, 1)
        await adapter.until_seen(1)
        assert adapter.seen[0].job == await service.get(job.id) == job
        assert adapter.seen[0].number == 1
        adapter.release()
        assert (await service.wait(job.id)).status is JobStatus.COMPLETED
        assert commits.seen == [BEGUN, [K.JOB_COMPLETED]]
        assert (await service.verify()).problems == ()


async def test_no_more_jobs_begin_than_lanes_wait(tmp_path: Path) -> None:
    """One lane of one: the second job of a commit is ready, and begins when the first is done."""
    adapter = ScriptedAdapter(held=True, concurrency=1)
    async with serving(adapter, data=tmp_path) as service:
        await waiting(service)
        first, second = await asyncio.gather(submit(service), submit(service))
        assert [first.status, second.status] == [JobStatus.STARTED, JobStatus.READY]
        adapter.release()
        assert (await service.wait(second.id)).status is JobStatus.COMPLETED
        assert [attempt.id for attempt in adapter.seen] == [first.id, second.id]


@pytest.mark.parametrize("operations", [1, 3, 7])
async def test_commits_of_any_size_hand_over_all_they_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operations: int
) -> None:
    """Lanes that leave with one commit's jobs are promised none of the next."""
    monkeypatch.setattr(writer, "MAX_OPERATIONS", operations)
    adapter = ScriptedAdapter(concurrency=2, batch=5)
    async with serving(adapter, data=tmp_path) as service:
        for _ in range(4):
            jobs = await asyncio.gather(*(submit(service) for _ in range(23)))
            with anyio.fail_after(10):
                for job in jobs:
                    assert (await service.wait(job.id)).status is JobStatus.COMPLETED
        assert len(adapter.seen) == 92
        assert not line_of(service).promises
        assert (await service.verify()).problems == ()


async def test_a_failed_commit_takes_its_promises_back(tmp_path: Path) -> None:
    """The jobs of a batch in which one cannot be stored begin all the same, each in a commit of its own."""
    adapter = ScriptedAdapter(held=True)
    async with serving(adapter, data=tmp_path) as service:
        await waiting(service)
        old = await submit(service)
        taken = service.store.submit(Submit([Draft(old, b"{}")]))
        answers = await asyncio.gather(submit(service), taken, submit(service), return_exceptions=True)
        assert isinstance(answers[1], StorageError)
        begun = [answer.id for answer in answers if isinstance(answer, Job)]
        await adapter.until_seen(3)
        assert sorted(attempt.id for attempt in adapter.seen) == sorted([old.id, *begun])
        assert not line_of(service).promises
        adapter.release()
        for job_id in begun:
            assert (await service.wait(job_id)).status is JobStatus.COMPLETED


async def test_idempotent_submits_are_known_in_the_transaction_alone(tmp_path: Path) -> None:
    """A job under a key waits its turn: the commit may turn out to replay an older one."""
    adapter = ScriptedAdapter(held=True)
    async with serving(adapter, data=tmp_path) as service:
        await waiting(service)
        key = Idempotency("key", "digest")
        one, two = [await service.submit(FLIP, backend="scripted", idempotency=key) for _ in range(2)]
        assert one.id == two.id
        await adapter.until_seen(1)
        assert len(adapter.seen) == 1


async def test_a_held_line_is_promised_nothing() -> None:
    """While nothing may be handed out, jobs stay ready."""
    adapter = ScriptedAdapter(held=True)
    async with serving(adapter) as service:
        await waiting(service)
        await service.fleet.pause("scripted")
        assert (await submit(service)).status is JobStatus.READY


async def test_a_job_canceled_before_it_is_picked_up_is_not_run(tmp_path: Path) -> None:
    """The cancel comes between the commit and the lane's turn."""
    adapter = ScriptedAdapter(held=True)
    async with serving(adapter, data=tmp_path) as service:
        await waiting(service)
        job = await submit(service)
        await service.cancel([job.id])
        adapter.release()
        assert (await service.wait(job.id)).status is JobStatus.CANCELED
        assert (await service.wait((await submit(service)).id)).status is JobStatus.COMPLETED
        assert (await service.verify()).problems == ()


class Deserter(ScriptedAdapter):
    """Its first taker leaves while a job is being stored for it; another takes over later."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.again = anyio.Event(), anyio.Event()
        self.scope = anyio.CancelScope()

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        with self.scope:
            await ready.take(5)
        self.left.set()
        await self.again.wait()
        outcomes: list[tuple[Attempt, Result]] = []
        while len(outcomes) < 2:
            outcomes += [(attempt, zeros(attempt)) for attempt in await ready.take(1)]
        await emit.finished(outcomes)


@pytest.mark.parametrize("stored", ["in memory", "on disk"])
async def test_what_was_promised_to_one_who_left_goes_to_the_next(tmp_path: Path, stored: str) -> None:
    """A started job never waits for somebody who is gone."""
    adapter = Deserter()
    async with serving(adapter, data=tmp_path if stored == "on disk" else None) as service:
        await waiting(service)
        taker = line_of(service).ready.idle()
        claim = service._dispatcher.claim

        def deserted(drafts: Sequence[Draft]) -> Callable[[], None]:
            unclaim = claim(drafts)
            adapter.scope.cancel()
            return unclaim

        service.store.claim = deserted
        first = await submit(service)
        await adapter.left.wait()
        second = await submit(service)
        assert [first.status, second.status] == [JobStatus.STARTED, JobStatus.READY]
        assert taker is not None
        assert taker.gone
        adapter.again.set()
        for job in first, second:
            assert (await service.wait(job.id)).status is JobStatus.COMPLETED
