"""What a stop, a kill and a restart leave, on a store on disk."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from orchestrator.backends.abc import Attempt, Prepared
from orchestrator.clock import SystemClock
from orchestrator.errors import StoreLocked
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Failure, Job
from orchestrator.service import Orchestrator
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving


def opened(adapter: ScriptedAdapter, data: Path) -> Orchestrator:
    return serving(adapter, data=data, clock=SystemClock())


async def crash_image(service: Orchestrator, data: Path, copy: Path) -> None:
    """The folder as a kill at this moment would leave it: the log is synced, nothing is checkpointed."""
    await service.verify()  # the writer has answered all that was committed
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("lock", "*.sock"))


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_what_ran_runs_again_and_no_failure_is_counted(how: str, tmp_path: Path) -> None:
    """Running, waiting and finished jobs of an earlier life: each completes, one attempt more for those that ran."""
    adapter = ScriptedAdapter(held=True, concurrency=2)
    data = tmp_path / "data"
    async with opened(adapter, data) as service:
        adapter.release()
        done = await service.wait((await service.submit(FLIP, backend="scripted")).id)
        adapter.hold()
        jobs = [await service.submit(FLIP, backend="scripted") for _ in range(5)]
        family = await service.submit([FLIP, FLIP], backend="scripted")
        await adapter.until_seen(3)
        ran = {attempt.id for attempt in adapter.seen[1:]}
        if how == "kill":
            await crash_image(service, data, tmp_path / "copy")
    async with opened(ScriptedAdapter(), tmp_path / "copy" if how == "kill" else data) as service:
        for job in jobs:
            ended = await service.wait(job.id)
            assert (ended.status, ended.failed_attempts) == (JobStatus.COMPLETED, 0)
            assert ended.attempt == (2 if job.id in ran else 1)
            assert (await service.result(job.id)).counts == {0: 100}
        assert (await service.wait(family.id)).status is JobStatus.COMPLETED
        assert await service.get(done.id) == done
        kinds = [event.kind.value for event in await service.store.events(0, limit=100, jobs=ran)]
        assert kinds.count("job.requeued") == len(ran) == 2
        assert (await service.verify()).problems == ()


class Compiling(ScriptedAdapter):
    """Its `prepare` waits until the test is over."""

    def __init__(self, *, stuck: bool) -> None:
        super().__init__(instant_prepare=False)
        self.asked = anyio.Event()
        self.stuck = stuck

    async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared | Failure]:
        self.asked.set()
        if self.stuck:
            await anyio.sleep_forever()
        return [Prepared(compiled=attempt.input) for attempt in attempts]


async def test_a_compilation_under_way_begins_again(tmp_path: Path) -> None:
    """A stop during `prepare` strands nothing and counts nothing."""
    stuck = Compiling(stuck=True)
    async with opened(stuck, tmp_path) as service:
        job = await service.submit(FLIP, backend="scripted")
        await stuck.asked.wait()
    async with opened(Compiling(stuck=False), tmp_path) as service:
        ended = await service.wait(job.id)
        assert (ended.status, ended.attempt, ended.failed_attempts) == (JobStatus.COMPLETED, 1, 0)
        assert (await service.verify()).problems == ()


class Elsewhere(ScriptedAdapter):
    """Its executions outlive the server: it adopts those it is told to, and reports them later."""

    def __init__(self, adopts: set[str], *, broken: bool = False) -> None:
        super().__init__()
        self.adopts, self.broken = adopts, broken
        self.offered: list[Attempt] = []

    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        self.offered += attempts
        if self.broken:
            raise RuntimeError("no connection")
        return [attempt for attempt in attempts if attempt.id in self.adopts]


async def test_an_attempt_that_still_runs_elsewhere_is_adopted(tmp_path: Path) -> None:
    """What `recover` names keeps its attempt and is reported; the rest runs again."""
    adapter = ScriptedAdapter(held=True)
    async with opened(adapter, tmp_path / "data") as service:
        adopted, rerun = [await service.submit(FLIP, backend="scripted") for _ in range(2)]
        await adapter.until_seen(2)
        await crash_image(service, tmp_path / "data", tmp_path / "copy")
    elsewhere = Elsewhere({adopted.id})
    async with opened(elsewhere, tmp_path / "copy") as service:
        assert (await service.wait(rerun.id)).attempt == 2
        job: Job = await service.get(adopted.id)
        assert (job.status, job.attempt) == (JobStatus.STARTED, 1)
        attempt = next(attempt for attempt in elsewhere.offered if attempt.id == adopted.id)
        line = service._dispatcher.lines["scripted"]
        await line.finished([(attempt, await elsewhere.run(attempt))])
        ended = await service.wait(adopted.id)
        assert (ended.status, ended.attempt) == (JobStatus.COMPLETED, 1)
        assert (await service.verify()).problems == ()


async def test_an_adapter_that_breaks_in_recover_does_not_keep_the_door_shut(tmp_path: Path) -> None:
    """What it would have adopted runs again."""
    adapter = ScriptedAdapter(held=True)
    async with opened(adapter, tmp_path / "data") as service:
        job = await service.submit(FLIP, backend="scripted")
        await adapter.until_seen(1)
        await crash_image(service, tmp_path / "data", tmp_path / "copy")
    async with opened(Elsewhere(set(), broken=True), tmp_path / "copy") as service:
        assert (await service.wait(job.id)).attempt == 2


async def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """A second orchestrator on the same folder is refused; the first goes on."""
    async with opened(ScriptedAdapter(), tmp_path) as service:
        with pytest.raises(StoreLocked):
            await opened(ScriptedAdapter(), tmp_path).__aenter__()
        job = await service.submit(FLIP, backend="scripted")
        assert (await service.wait(job.id)).status is JobStatus.COMPLETED


async def test_an_idempotency_key_outlives_a_restart(tmp_path: Path) -> None:
    """The first answer is replayed by a later life."""
    from orchestrator.storage.abc import Idempotency

    async with opened(ScriptedAdapter(), tmp_path) as service:
        first = await service.submit(FLIP, backend="scripted", idempotency=Idempotency("k", "body"))
    async with opened(ScriptedAdapter(), tmp_path) as service:
        again = await service.submit(FLIP, backend="scripted", idempotency=Idempotency("k", "body"))
        assert again.id == first.id
