"""Adapters that do not end when they are canceled: nobody waits for them, not even at the end."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from orchestrator import foreign
from orchestrator.backends import registry, running
from orchestrator.backends.abc import AdapterContext, Attempt, Capabilities, Emit, Prepared, Ready
from orchestrator.dispatch import supervising
from orchestrator.events import EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, Result
from orchestrator.service import Orchestrator
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving
from orchestrator.testing.clock import ManualClock

LIMIT_S = 30


class Stubborn(ScriptedAdapter):
    """Swallows every cancel in one of its members, once `block` was entered; `enough` lets it go."""

    name = "stubborn"

    def __init__(self, member: str, **capabilities: Any) -> None:
        super().__init__("stubborn", concurrency=1, **capabilities)
        self.member = member
        self.entered = asyncio.Event()
        self.enough = asyncio.Event()

    async def block(self, member: str) -> None:
        if member != self.member:
            return
        self.entered.set()
        while not self.enough.is_set():
            try:
                await self.enough.wait()
            except asyncio.CancelledError:
                continue

    async def open(self, context: AdapterContext) -> None:
        await self.block("open")

    async def run(self, attempt: Attempt) -> Result:
        await self.block("run")
        return await super().run(attempt)

    async def prepare(self, attempts: Sequence[Attempt]) -> list[Prepared]:
        await self.block("prepare")
        return [Prepared() for _ in attempts]

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        await self.block("serve")
        await super().serve(backend, ready, emit)

    async def heartbeat(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        await self.block("heartbeat")
        return await super().heartbeat(attempts)

    async def cancel(self, attempt: Attempt) -> None:
        await self.block("cancel")
        await super().cancel(attempt)

    async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        return []

    async def aclose(self) -> None:
        await self.block("aclose")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graces of milliseconds."""
    monkeypatch.setattr(foreign, "GRACE_S", 0.01)
    monkeypatch.setattr(supervising, "SERVE_GRACE_S", 0.1)
    monkeypatch.setattr(registry, "CLOSE_LIMIT_S", 0.01)


#: How a job of the adapter is left, by the member that does not end.
ENDS = {
    "run": (JobStatus.READY, EventKind.JOB_REQUEUED),
    "prepare": (JobStatus.SUBMITTED, EventKind.JOB_SUBMITTED),
    "serve": (JobStatus.READY, EventKind.JOB_READY),
    "heartbeat": (JobStatus.READY, EventKind.JOB_REQUEUED),
    "cancel": (JobStatus.CANCELED, EventKind.JOB_CANCELED),
    "aclose": (JobStatus.COMPLETED, EventKind.JOB_COMPLETED),
}


async def submit(service: Orchestrator, backend: str = "stubborn") -> Job:
    return await service.submit(FLIP, backend=backend)


@pytest.mark.parametrize("member", ENDS)
async def test_leaving_waits_for_no_adapter(member: str, tmp_path: Path) -> None:
    """It is left behind and named by backend and member; its job is ready again, all else is released."""
    adapter = Stubborn(member, held=member in {"heartbeat", "cancel"}, instant_prepare=member != "prepare")
    clock = ManualClock()
    with capture_logs() as logs, anyio.fail_after(LIMIT_S):
        async with serving(adapter, ScriptedAdapter(), data=tmp_path, clock=clock, lease_s=9.0) as service:
            job = await submit(service)
            if member in {"heartbeat", "cancel"}:
                await adapter.until_seen(1)
                await clock.advanced(4.0)
            if member == "cancel":
                await service.cancel([job.id])
            if member == "aclose":
                await service.wait(job.id)
            else:
                await adapter.entered.wait()
            assert (await service.wait((await submit(service, "scripted")).id)).status is JobStatus.COMPLETED
    async with serving(data=tmp_path) as later:
        job = await later.get(job.id)
        (*_, told) = await later.store.events(0, limit=100, jobs=[job.id])
    assert (job.status, told.kind, job.failed_attempts) == (*ENDS[member], 0)
    assert told.kind is not EventKind.JOB_REQUEUED or told.data == {"reason": "the server was stopped"}
    left = [entry for entry in logs if "is left behind" in entry["event"]]
    assert [entry["what"] for entry in left] == [member]
    assert "stubborn" in left[0].values()
    adapter.enough.set()


async def test_one_that_does_not_open_in_time_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and reason, though it swallows the cancel; the others serve."""
    monkeypatch.setattr(registry, "OPEN_LIMIT_S", 0.01)
    adapter = Stubborn("open")
    with capture_logs(), anyio.fail_after(LIMIT_S):
        async with serving(adapter, ScriptedAdapter()) as service:
            (problem,) = service.backends.problems
            assert (problem.name, problem.reason) == ("stubborn", "it did not open within 0.01 s")
            assert (await service.wait((await submit(service, "scripted")).id)).status is JobStatus.COMPLETED
    adapter.enough.set()


async def test_nobody_waits_for_a_slow_one_to_open() -> None:
    """Adapters are opened side by side, and served in the order they were named."""
    second_opened = anyio.Event()

    class First(ScriptedAdapter):
        async def open(self, context: AdapterContext) -> None:
            await second_opened.wait()

    class Second(ScriptedAdapter):
        async def open(self, context: AdapterContext) -> None:
            second_opened.set()

    with anyio.fail_after(LIMIT_S):
        async with serving(First("first"), Second("second")) as service:
            assert service.backends.names() == ["first", "second"]


async def test_one_that_is_removed_is_left_behind() -> None:
    """Disabling gives what runs its time, then goes on; late news of it change nothing."""
    adapter = Stubborn("run")
    with capture_logs(), anyio.fail_after(LIMIT_S):
        async with serving(adapter) as service:
            job = await submit(service)
            await adapter.entered.wait()
            assert await service.fleet.disable("stubborn", drain_s=0) == ["stubborn"]
            adapter.enough.set()
            for _ in range(50):
                await asyncio.sleep(0)
            assert (await service.get(job.id)).status is JobStatus.READY
            assert (await service.verify()).problems == ()


async def test_preparing_that_ignores_its_limit_fails_the_job() -> None:
    """After the attempts of every other one."""
    adapter, clock = Stubborn("prepare", instant_prepare=False), ManualClock()
    with capture_logs(), anyio.fail_after(LIMIT_S):
        async with serving(adapter, clock=clock, prepare_limit_s=5.0, retry_base_s=0.0) as service:
            job = await submit(service)
            while not (await service.get(job.id)).terminal:
                clock.advance(1.0)
                await asyncio.sleep(0.001)
            failure = (await service.get(job.id)).outcome.failure
            assert failure is not None
            assert (failure.code, failure.message) == ("CompilationError", "preparing took longer than 5 s")
    adapter.enough.set()


async def test_an_in_process_hook_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's own coroutine keeps its orchestrator no more than an adapter does."""
    monkeypatch.setattr("orchestrator.opening.NOTIFY_LIMIT_S", 0.01)
    stubborn = Stubborn("hook")
    with capture_logs() as logs, anyio.fail_after(LIMIT_S):
        async with serving(ScriptedAdapter()) as service:

            @service.on("job.submitted")
            async def hook(event: object) -> None:
                await stubborn.block("hook")

            await submit(service, "scripted")
            await stubborn.entered.wait()
    assert [entry["what"] for entry in logs if "is left behind" in entry["event"]] == ["in-process hook"]
    stubborn.enough.set()


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_runs_that_go_on_hold_their_lanes_and_people_are_told(concurrency: int) -> None:
    """A backend never runs more than it declared. When all lanes hang it is unavailable, till one is through."""

    class Wide(Stubborn):
        def capabilities(self) -> Sequence[Capabilities]:
            return [Capabilities(backend="stubborn", qubits=8, concurrency=concurrency)]

    adapter, clock = Wide("run"), ManualClock()
    with capture_logs() as logs, anyio.fail_after(LIMIT_S):
        async with serving(adapter, clock=clock, run_limit_s=2.0, lease_s=9.0) as service:
            hanging = [await submit(service) for _ in range(concurrency)]
            for job in hanging:
                await adapter.entered.wait()
                await clock.advanced(4.0)
                assert (await service.wait(job.id)).outcome.failure is not None
            waiting = await submit(service)
            assert service.backends.state("stubborn").status == "available"
            await clock.advanced(running.HANG_S + 2.0)
            state = service.backends.state("stubborn")
            assert (state.status, state.reason) == ("unavailable", "runs that were ended do not return")
            assert (await service.get(waiting.id)).status is JobStatus.READY
            adapter.enough.set()
            assert (await service.wait(waiting.id)).status is JobStatus.COMPLETED
            assert service.backends.state("stubborn").status == "available"
            assert [(await service.get(job.id)).status for job in hanging] == [JobStatus.FAILED] * concurrency
    told = [entry["event"] for entry in logs]
    assert told.count("adapter goes on with a run that was ended") == concurrency
    assert told.count("adapter stays in the server process") == 1


async def test_an_adapter_that_goes_on_is_moved_where_it_can_be() -> None:
    """Its lane is another's then: the backend goes on, whatever becomes of the old run."""
    adapter, clock = Stubborn("run"), ManualClock()
    with capture_logs(), anyio.fail_after(LIMIT_S):
        async with serving(adapter, clock=clock, run_limit_s=2.0) as service:
            execution = adapter._execution
            execution._obstacle = ""
            job = await submit(service)
            await adapter.entered.wait()
            await clock.advanced(4.0)
            await service.wait(job.id)
            await clock.advanced(running.HANG_S + 2.0)
            assert execution.hosted
            adapter.member = ""  # the next run is well; it is run here, for want of worker processes
            assert (await service.wait((await submit(service)).id)).status is JobStatus.COMPLETED
            adapter.enough.set()
            assert (await service.wait((await submit(service)).id)).status is JobStatus.COMPLETED
