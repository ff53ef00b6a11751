"""Each fault alone: what the job, its events and the wrapped adapter see of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from orchestrator.backends.abc import AdapterContext, Attempt, Capabilities, Emit, Ready
from orchestrator.errors import BackendFault
from orchestrator.lifecycle import JobStatus
from orchestrator.model import BackendState, Characterization, Job, JobSpec
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import turns
from orchestrator.workers.pool import WorkerPool
from orchestrator_fault.adapter import FaultAdapter
from orchestrator_fault.plan import Every, Fault
from tests.unit.fault.faulting import Faulty, events_of, until_ended

QUICK: dict[str, Any] = {"retry_base_s": 0.0, "lease_s": 9.0}


class Streaming(ScriptedAdapter):
    """The full form: takes without starting, tells everything itself."""

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        while True:
            for attempt in await ready.take(backend.batch, start=False):
                if await emit.started([attempt]):
                    self.begun(attempt)
                    await emit.progress(attempt, 0.25)
                    await emit.finished([(attempt, zeros(attempt))])


async def run(
    adapter: Faulty, *, backend: str = "fault.scripted", **dispatch: Any
) -> tuple[JobStatus, list[str], float]:
    """One job to its end: status, the kinds of its events, and how long it took."""
    clock = ManualClock()
    async with serving(adapter, clock=clock, **{**QUICK, **dispatch}) as service:
        job = await service.submit(FLIP, backend=backend)
        began = clock.monotonic()
        [ended] = await until_ended(service, clock, [job], 0.5)
        took = clock.monotonic() - began
        await clock.advanced(30.0)
        assert (await service.verify()).problems == ()
        kinds = [event.kind.removeprefix("job.") for event in await events_of(service, job)]
        return ended.status, kinds, took


async def test_without_faults_everything_goes_through() -> None:
    """Names are changed and nothing else; a failure stays what it was, a cancel reaches the run."""
    inner = ScriptedAdapter(held=True)
    adapter = Faulty(inner)
    clock = ManualClock()
    async with serving(adapter, clock=clock) as service:
        assert service.backends.names() == ["fault.scripted"]
        job = await service.submit(FLIP, backend="fault.scripted")
        await inner.until_seen(1)
        assert inner.seen[0].job.backend == "scripted"
        await service.cancel([job.id])
        await turns(20)
        assert [(attempt.id, attempt.job.backend) for attempt in inner.canceled] == [(job.id, "scripted")]
        inner.release()
        done = await service.submit(FLIP, backend="fault.scripted")
        assert (await service.result(done.id)).counts == {0: 100}
        inner.answer = lambda attempt: BackendFault("no ions")
        failed = await service.wait((await service.submit(FLIP, backend="fault.scripted")).id)
        assert failed.outcome.failure is not None
        assert failed.outcome.failure.message == "no ions"
    assert adapter.injected == {}


async def test_leases_are_vouched_for_by_the_wrapped_adapter() -> None:
    """A run longer than its lease goes on while the wrapped adapter says so, and is lost when it does not."""
    clock, inner = ManualClock(), ScriptedAdapter(held=True)
    async with serving(Faulty(inner), clock=clock, **QUICK) as service:
        job = await service.submit(FLIP, backend="fault.scripted")
        await inner.until_seen(1)
        await clock.advanced(60.0)
        assert (await service.get(job.id)).attempt == 1
        inner.vouching = False
        await clock.advanced(12.0)
        inner.vouching = True
        inner.release()
        assert (await until_ended(service, clock, [job]))[0].attempt >= 2


async def test_delay() -> None:
    """The job stays ready until the delay is over, longer than a lease."""
    adapter = Faulty(ScriptedAdapter(), delay=1.0, delay_s=40.0)
    clock = ManualClock()
    async with serving(adapter, clock=clock, **QUICK) as service:
        job = await service.submit(FLIP, backend="fault.scripted")
        await clock.advanced(39.0)
        assert (await service.get(job.id)).status is JobStatus.READY
        [ended] = await until_ended(service, clock, [job])
        assert (ended.status, ended.attempt) == (JobStatus.COMPLETED, 1)


async def test_a_job_canceled_while_it_is_delayed_never_runs() -> None:
    """The wrapped adapter hears nothing of it."""
    clock, inner = ManualClock(), ScriptedAdapter()
    async with serving(Faulty(inner, delay=1.0), clock=clock, **QUICK) as service:
        job = await service.submit(FLIP, backend="fault.scripted")
        await turns(20)
        await service.cancel([job.id])
        await clock.advanced(20.0)
        assert (inner.seen, inner.canceled) == ([], [])
        assert (await service.get(job.id)).status is JobStatus.CANCELED


async def test_busy() -> None:
    """An attempt fails in a retryable way, and nothing is handed over until the backend may be asked again."""
    adapter = Faulty(ScriptedAdapter(), busy=Every(2), retry_after_s=25.0)
    clock = ManualClock()
    async with serving(adapter, clock=clock, **QUICK) as service:
        jobs = [await service.submit(FLIP, backend="fault.scripted") for _ in range(2)]
        await clock.advanced(1.0)
        other = await service.submit(FLIP, backend="fault.scripted")
        await clock.advanced(20.0)
        assert [(await service.get(job.id)).status for job in (*jobs, other)] == ["completed", "ready", "ready"]
        ended = await until_ended(service, clock, [*jobs, other])
        assert {job.status for job in ended} == {JobStatus.COMPLETED}
        requeued, *_ = [event for event in await events_of(service, jobs[1]) if event.kind == "job.requeued"]
        assert "429" in (requeued.data or {})["reason"]


async def test_always_busy_is_the_end_after_the_limit_of_attempts() -> None:
    """A backend that is busy for ever fails the job in the end."""
    status, kinds, _ = await run(Faulty(ScriptedAdapter(), busy=1.0))
    assert status is JobStatus.FAILED
    assert kinds.count("requeued") == 2


@pytest.mark.parametrize("vouched", [False, True])
async def test_a_lost_answer_is_ended_by_the_lease_or_the_run_limit(vouched: bool) -> None:
    """The run happened and is not told: without signs of life its lease ends, with them the run limit does."""
    inner = ScriptedAdapter()
    adapter = Faulty(inner, lost=1.0, lost_vouched=vouched)
    status, kinds, took = await run(adapter, run_limit_s=100.0)
    assert status is JobStatus.FAILED
    if vouched:
        assert (kinds[-2:], len(inner.ended)) == (["started", "failed"], 1)
        assert took >= 100
    else:
        assert (kinds.count("started"), kinds.count("requeued"), len(inner.ended)) == (3, 2, 3)
        assert took < 60
    assert adapter.injected[Fault.LOST] == len(inner.ended)


async def test_a_failure_in_the_middle_comes_after_progress() -> None:
    """Progress was told, then the end; with the backend's usual code."""
    status, kinds, _ = await run(Faulty(ScriptedAdapter(), failure=1.0))
    assert status is JobStatus.FAILED
    assert kinds == ["submitted", "ready", "started", "progress", "failed"]
    _, kinds, _ = await run(Faulty(ScriptedAdapter(), failure=1.0, failure_retryable=True))
    assert kinds.count("requeued") == 2


async def test_a_late_end() -> None:
    """It is told after its time, longer than a lease, and once."""
    status, kinds, took = await run(Faulty(ScriptedAdapter(), late=1.0, late_s=50.0))
    assert (status, kinds) == (JobStatus.COMPLETED, ["submitted", "ready", "started", "completed"])
    assert took >= 50


async def test_a_cancel_wins_over_a_late_end() -> None:
    """What is told of a job that ended meanwhile is refused."""
    clock, inner = ManualClock(), ScriptedAdapter()
    async with serving(Faulty(inner, late=1.0, late_s=5.0), clock=clock, **QUICK) as service:
        job = await service.submit(FLIP, backend="fault.scripted")
        await turns(50)
        assert len(inner.ended) == 1
        await service.cancel([job.id])
        await clock.advanced(10.0)
        kinds = [event.kind.removeprefix("job.") for event in await events_of(service, job)]
        assert kinds == ["submitted", "ready", "started", "canceled"]


@pytest.mark.parametrize("form", [ScriptedAdapter, Streaming])
async def test_told_twice_is_recorded_once(form: type[ScriptedAdapter]) -> None:
    """Start and end have one event each; progress has as many as were told."""
    adapter = Faulty(form(), duplicate=1.0)
    status, kinds, _ = await run(adapter)
    assert status is JobStatus.COMPLETED
    assert [kinds.count(kind) for kind in ("started", "completed")] == [1, 1]
    assert kinds.count("progress") == (2 if form is Streaming else 0)
    assert adapter.injected[Fault.DUPLICATE] == 1


@pytest.mark.parametrize("form", [ScriptedAdapter, Streaming])
async def test_a_start_told_after_the_end(form: type[ScriptedAdapter]) -> None:
    """The log has them in order: what was not told to have begun is recorded as begun with its end."""
    adapter = Faulty(form(), reorder=1.0)
    status, kinds, _ = await run(adapter)
    assert (status, kinds) == (JobStatus.COMPLETED, ["submitted", "ready", "started", "completed"])
    assert adapter.injected[Fault.REORDER] == 1


class Calibrated(ScriptedAdapter):
    """A backend with a calibration."""

    def state(self, backend: str) -> BackendState:
        return BackendState(backend=backend, characterization_id="known")

    def initial_characterizations(self) -> list[Characterization]:
        fidelity: dict[str, dict[str, float | None]] = {"spam": {"median": 0.99}}
        return [
            Characterization(
                id="known", backend="scripted", recorded_at=1, qubits=8, connectivity=[], fidelity=fidelity, timing={}
            )
        ]


async def test_an_outage_for_calibration() -> None:
    """The backend is away and shows no calibration; the attempt that met it ends, others wait, and both end once."""
    clock, inner = ManualClock(), Calibrated()
    adapter = Faulty(inner, outage={"every": 2}, outage_s=60.0)
    async with serving(adapter, clock=clock, **QUICK) as service:
        assert service.backends.state("fault.scripted").characterization_id == "known"
        recorded, _ = await service.backends.characterizations("fault.scripted")
        assert [item.id for item in recorded] == ["known"]
        jobs = [await service.submit(FLIP, backend="fault.scripted") for _ in range(2)]
        await clock.advanced(1.0)
        jobs.append(await service.submit(FLIP, backend="fault.scripted"))
        await clock.advanced(50.0)
        state = service.backends.state("fault.scripted")
        assert (state.status, state.reason, state.characterization_id) == ("unavailable", "calibrating", None)
        assert [(await service.get(job.id)).status for job in jobs] == ["completed", "completed", "ready"]
        assert {job.status for job in await until_ended(service, clock, jobs)} == {JobStatus.COMPLETED}
        assert service.backends.state("fault.scripted").characterization_id == "known"
        changes = [event for event in await service.store.events(0, limit=1_000) if event.kind == "backend.changed"]
        assert [(event.data or {})["status"] for event in changes] == ["unavailable", "available"]
        assert {event.backend for event in changes} == {"fault.scripted"}


async def test_a_crash_of_the_worker() -> None:
    """The worker that runs it dies: the attempt is lost and counted, the run inside never begins."""
    inner = ScriptedAdapter()
    status, kinds, _ = await run(Faulty(inner, crash={"every": 1}))
    assert (status, inner.seen) == (JobStatus.FAILED, [])
    assert (kinds.count("started"), kinds.count("requeued"), kinds.count("failed")) == (3, 2, 1)


async def test_a_crash_of_the_wrapped_adapter_is_the_dispatchers_to_heal() -> None:
    """Its exception comes through as itself, in the middle of an outage too, and the backend comes back."""

    class Fragile(ScriptedAdapter):
        crashes = 0

        async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
            if self.crashes:
                return await super().serve(backend, ready, emit)
            await ready.take(1)
            self.crashes += 1
            raise ZeroDivisionError

    clock = ManualClock()
    async with serving(Faulty(Fragile(), outage=Every(1), outage_s=5.0), clock=clock, **QUICK) as service:
        job = await service.submit(FLIP, backend="fault.scripted")
        [ended] = await until_ended(service, clock, [job])
        assert (ended.status, ended.attempt) == (JobStatus.COMPLETED, 2)
        assert not any(line.leases for line in service._dispatcher.lines.values())


async def test_what_an_earlier_process_started_is_asked_of_the_wrapped_adapter() -> None:
    """What it still runs is adopted under the name outside and vouched for; a cancel reaches it under that inside."""

    class Elsewhere(ScriptedAdapter):
        async def recover(self, attempts: Sequence[Attempt]) -> list[Attempt]:
            return [attempt for attempt in attempts if attempt.id == "kept"]

    inner = Elsewhere()
    adapter = Faulty(inner)
    clock = ManualClock()
    await adapter.open(AdapterContext(clock=clock, new_id=str, workers=WorkerPool(1, clock)))
    spec = JobSpec(backend="fault.scripted")
    attempts = [
        Attempt(Job(id=name, project_id="p", spec=spec, status=JobStatus.STARTED, submitted_at=0), 3, b"")
        for name in ("kept", "gone")
    ]
    assert await adapter.recover(attempts) == attempts[:1]
    assert await adapter.heartbeat(attempts) == attempts[:1]
    for attempt in attempts:
        await adapter.cancel(attempt)
    assert [(attempt.id, attempt.job.backend, attempt.number) for attempt in inner.canceled] == [
        ("kept", "scripted", 3)
    ]
    assert await adapter.heartbeat(attempts) == []
    await adapter.aclose()


async def test_ends_of_waiting_jobs_reach_the_wrapped_adapter() -> None:
    """`Ready.ended` goes straight through."""
    heard: list[str] = []

    class Following(ScriptedAdapter):
        async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
            async for jobs in ready.ended(["unknown"]):
                heard.extend(jobs)

    async with serving(Faulty(Following())) as service:
        await turns(20)
        job = await service.submit(FLIP, backend="fault.scripted")
        await service.cancel([job.id])
        await turns(20)
        assert heard == ["unknown", job.id]


async def test_nothing_is_served_without_a_table() -> None:
    """Installed beside the others, it has no backends and no problems."""
    async with serving(FaultAdapter()) as service:
        assert (service.backends.names(), service.backends.problems) == ([], [])


@pytest.mark.parametrize("named", ["fault", "no_such_adapter"])
async def test_what_cannot_be_wrapped_is_a_problem_by_name(named: str) -> None:
    """The service goes on without it, and says why."""
    async with serving(FaultAdapter(adapter=named), ScriptedAdapter()) as service:
        assert service.backends.names() == ["scripted"]
        [problem] = service.backends.problems
        assert problem.name == "fault"
