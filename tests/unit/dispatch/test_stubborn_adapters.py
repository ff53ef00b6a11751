"""Adapters that do not end when they are canceled: nobody waits for them, not even at the end."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from orchestrator import foreign
from orchestrator.backends import registry
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
