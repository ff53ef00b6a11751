"""What becomes of attempts: leases, limits, retries, crashes, fencing."""

import itertools
import random
from collections.abc import Sequence

import anyio
import pytest
from anyio.lowlevel import checkpoint

from orchestrator.backends.abc import Attempt, Capabilities, Emit, Ready
from orchestrator.dispatch.retry import delay_s
from orchestrator.errors import ExecutionError, JobFailed, WorkerLost
from orchestrator.events import EventKind
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobRequest, Result
from orchestrator.service import Orchestrator
from orchestrator.storage.abc import Move
from orchestrator.storage.memory import MemoryStore
from orchestrator.testing.adapters import FLIP, ScriptedAdapter, serving, zeros
from orchestrator.testing.clock import ManualClock
from orchestrator.testing.uncertain import turns

K = EventKind


async def kinds(service: Orchestrator, job: Job) -> list[EventKind]:
    """What the log holds about a job."""
    return [event.kind for event in await service.store.events(0, limit=1000, jobs=[job.id])]


async def submit(service: Orchestrator, backend: str = "scripted") -> Job:
    return await service.submit(FLIP, backend=backend)


async def sound(service: Orchestrator) -> None:
    """The log equals the tables, and nothing stays leased."""
    lines = service._dispatcher.lines.values()
    for _ in range(3_000):
        if not any(len(line.leases) for line in lines):
            break
        await turns(1)
    assert not any(len(line.leases) for line in lines)
    assert (await service.verify()).problems == ()


async def test_what_is_not_vouched_for_is_run_again_and_fails_at_the_third() -> None:
    """Leases end without heartbeats; each end counts; the third is the job's."""
    clock, adapter = ManualClock(), ScriptedAdapter(held=True)
    adapter.vouching = False
    async with serving(adapter, clock=clock, lease_s=9.0, retry_base_s=1.0) as service:
        job = await submit(service)
        for attempt in (1, 2, 3):
            await adapter.until_seen(attempt)
            assert (await service.get(job.id)).failed_attempts == attempt - 1
            await clock.advanced(12.0)
        job = await service.wait(job.id)
        assert job.status is JobStatus.FAILED
        assert (job.attempt, job.failed_attempts) == (3, 3)
        assert job.outcome.failure is not None
        assert "lease" in job.outcome.failure.message
        assert [attempt.number for attempt in adapter.seen] == [1, 2, 3]
        assert len(adapter.canceled) == 3
        await sound(service)


async def test_a_vouched_attempt_runs_as_long_as_it_likes() -> None:
    """Heartbeats keep a lease, whatever the wall clock does."""
    clock, adapter = ManualClock(), ScriptedAdapter(held=True)
    async with serving(adapter, clock=clock, lease_s=9.0, run_limit_s=0) as service:
        job = await submit(service)
        await adapter.until_seen(1)
        clock.jump_wall(1e6)
        await clock.advanced(500.0)
        clock.jump_wall(-2e6)
        await clock.advanced(500.0)
        adapter.release()
        assert (await service.wait(job.id)).attempt == 1


async def test_a_loop_that_stood_still_costs_nobody_a_lease() -> None:
    """Who could not be asked, because one adapter blocked everybody, is not taken for lost."""
    clock, adapter = ManualClock(), ScriptedAdapter(held=True)
    async with serving(adapter, clock=clock, lease_s=9.0) as service:
        job = await submit(service)
        await adapter.until_seen(1)
        await turns(20)
        clock.advance(100.0)
        await clock.advanced(30.0)
        adapter.release()
        job = await service.wait(job.id)
        assert (job.attempt, job.failed_attempts) == (1, 0)


async def test_an_adapter_that_hangs_in_a_heartbeat_loses_its_own_leases_only() -> None:
    """Nobody else's limits, retries or leases wait for it."""

    class Deaf(ScriptedAdapter):
        async def heartbeat(self, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
            await anyio.sleep_forever()
            raise AssertionError

        async def cancel(self, attempt: Attempt) -> None:
            await anyio.sleep_forever()

    clock, deaf, well = ManualClock(), Deaf("deaf", held=True), ScriptedAdapter("well", held=True)
    async with serving(deaf, well, clock=clock, lease_s=9.0) as service:
        lost, kept = await submit(service, "deaf"), await submit(service, "well")
        await clock.advanced(200.0)
        assert (await service.wait(lost.id)).status is JobStatus.FAILED
        well.release()
        assert (await service.wait(kept.id)).attempt == 1


async def test_the_run_limit_ends_an_attempt_for_good() -> None:
    """A run beyond its limit fails the job, stops the adapter, and is no reason to try again."""
    clock, adapter = ManualClock(), ScriptedAdapter(held=True, run_limit_s=5.0)
    async with serving(adapter, clock=clock) as service:
        job = await submit(service)
        await adapter.until_seen(1)
        await clock.advanced(4.0)
        assert not (await service.get(job.id)).terminal
        await clock.advanced(3.0)
        job = await service.wait(job.id)
        assert job.outcome.failure is not None
        assert job.outcome.failure.code == "SimulationTimeout"
        assert [attempt.id for attempt in adapter.canceled] == [job.id]
        adapter.release()
        await turns(30)
        assert adapter.ended == []  # the run itself was canceled
        await sound(service)


async def test_a_run_limit_stands_still_while_the_backend_is_away() -> None:
    """Time in which the adapter cannot reach its machine counts for no run limit; time before and after does."""
    clock, adapter = ManualClock(), Streaming(held=True, run_limit_s=30.0)
    async with serving(adapter, clock=clock) as service:
        job = await submit(service)
        await adapter.until_seen(1)
        await adapter.emit.started(adapter.seen)
        await clock.advanced(20.0)
        await adapter.emit.availability(False, "no connection")
        await clock.advanced(1_000.0)
        assert not (await service.get(job.id)).terminal
        await adapter.emit.availability(True)
        await clock.advanced(7.0)
        assert not (await service.get(job.id)).terminal
        await clock.advanced(5.0)
        failure = (await service.wait(job.id)).outcome.failure
        assert failure is not None
        assert failure.message == "the run limit was reached"


async def test_the_queue_limit_fails_what_waits_too_long_and_nothing_that_runs() -> None:
    """Beyond the queue limit a waiting job fails; the running one goes on."""
    clock, adapter = ManualClock(), ScriptedAdapter(held=True, concurrency=1)
    async with serving(adapter, clock=clock, queue_limit_s=60.0) as service:
        running = await submit(service)
        await adapter.until_seen(1)
        waiting = [await submit(service) for _ in range(250)]
        await clock.advanced(100.0)
        assert {(await service.wait(job.id)).status for job in waiting} == {JobStatus.FAILED}
        adapter.release()
        assert (await service.wait(running.id)).status is JobStatus.COMPLETED
        await turns(30)
        assert len(adapter.seen) == 1
        await sound(service)


async def test_a_retryable_failure_is_tried_again_after_a_delay() -> None:
    """The second attempt succeeds; the first one is counted and told of."""
    clock = ManualClock()
    adapter = ScriptedAdapter(answer=lambda attempt: zeros(attempt) if attempt.number == 2 else WorkerLost("it died"))
    async with serving(adapter, clock=clock) as service:
        job = await submit(service)
        await adapter.until_seen(1)
        await turns(10)
        assert len(adapter.seen) == 1
        await clock.advanced(5.0)
        job = await service.wait(job.id)
        assert (job.status, job.attempt, job.failed_attempts) == (JobStatus.COMPLETED, 2, 1)
        assert await kinds(service, job) == [
            K.JOB_SUBMITTED,
            K.JOB_READY,
            K.JOB_STARTED,
            K.JOB_REQUEUED,
            K.JOB_STARTED,
            K.JOB_COMPLETED,
        ]
        await sound(service)


async def test_a_final_failure_is_the_end() -> None:
    """What is not retryable fails at once, with the adapter's code and words."""
    adapter = ScriptedAdapter(answer=lambda _: ExecutionError("CalibrationError", "no ions"))
    async with serving(adapter) as service:
        job = await submit(service)
        with pytest.raises(JobFailed, match="CalibrationError: no ions"):
            await service.result(job.id)
        assert (await service.get(job.id)).failed_attempts == 0


def test_delays_are_full_jitter_under_a_capped_exponential() -> None:
    """Delays fill zero to min(cap, base 2^(n-1)) evenly, and stay finite after any number of failures."""
    rng = random.Random(1)
    for failed, top in ((1, 2.0), (2, 4.0), (3, 8.0), (6, 60.0), (5_000, 60.0)):
        delays = [delay_s(failed, rng, base_s=2.0, cap_s=60.0) for _ in range(4_000)]
        assert 0.0 <= min(delays) < 0.02 * top
        assert 0.98 * top < max(delays) <= top
        assert sum(delays) / len(delays) == pytest.approx(top / 2, rel=0.05)  # 3.4 sigma


class Crashing(ScriptedAdapter):
    """Its `serve` breaks when a test says so."""

    def __init__(self, backend: str = "scripted", **options: object) -> None:
        super().__init__(backend, **options)  # type: ignore[arg-type]
        self.crash = anyio.Event()
        self.served = 0

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        self.served += 1
        if not self.crash.is_set():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(super().serve, backend, ready, emit)
                await self.crash.wait()
                self.crash = anyio.Event()
                raise RuntimeError("the adapter broke")


async def test_a_crashed_adapter_is_served_again_and_its_attempts_run_again() -> None:
    """A crash costs its own attempts a try; another backend notices nothing."""
    clock, broken, well = ManualClock(), Crashing("broken", held=True), ScriptedAdapter("well", held=True)
    async with serving(broken, well, clock=clock) as service:
        lost, kept = await submit(service, "broken"), await submit(service, "well")
        await broken.until_seen(1)
        await well.until_seen(1)
        broken.crash.set()
        await turns(40)
        assert (await service.get(lost.id)).status is JobStatus.READY
        broken.release()
        await clock.advanced(10.0)
        lost = await service.wait(lost.id)
        assert (lost.status, lost.attempt, lost.failed_attempts) == (JobStatus.COMPLETED, 2, 1)
        assert broken.served == 2
        well.release()
        assert (await service.wait(kept.id)).attempt == 1
        await sound(service)


class Leaving(ScriptedAdapter):
    """Takes a job and returns, so many times; then it serves."""

    def __init__(self, times: int, *, start: bool = True) -> None:
        super().__init__()
        self.times, self.start, self.served = times, start, 0

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        self.served += 1
        if self.served <= self.times:
            await ready.take(1, start=self.start)
            return
        await super().serve(backend, ready, emit)


async def test_an_adapter_that_returns_is_served_again() -> None:
    """`serve` is for ever; an end is treated as a crash: who was in hand has lost a try."""
    clock = ManualClock()
    async with serving(Leaving(1), clock=clock) as service:
        job = await submit(service)
        await clock.advanced(10.0)
        job = await service.wait(job.id)
        assert (job.status, job.attempt, job.failed_attempts) == (JobStatus.COMPLETED, 2, 1)


async def test_a_job_that_makes_its_adapter_return_fails_in_the_end() -> None:
    """Nothing goes round for ever: the pauses grow, the job fails at the limit, and the backend says why."""
    clock, adapter = ManualClock(), Leaving(1_000)
    async with serving(adapter, clock=clock, retry_base_s=1.0, retry_cap_s=60.0) as service:
        job = await submit(service)
        await clock.advanced(20.0)
        job = await service.wait(job.id)
        assert job.outcome.failure is not None
        assert (job.attempt, job.outcome.failure.code) == (3, "InternalError")
        assert "stopped serving" in job.outcome.failure.message
        assert adapter.served == 4
        state = service.backends.state("scripted")
        assert (state.status, state.reason) == (
            "unavailable",
            "its adapter crashes again and again: serve returned, where it goes on until it is canceled",
        )
        await sound(service)


async def test_what_was_never_started_waits_for_an_adapter_that_returns() -> None:
    """It costs no try, and the pauses are those of retries: a few runs in ten minutes."""
    clock, adapter = ManualClock(), Leaving(1_000, start=False)
    async with serving(adapter, clock=clock, retry_base_s=1.0, retry_cap_s=60.0) as service:
        job = await submit(service)
        await clock.advanced(600.0)
        assert (await service.get(job.id)).status is JobStatus.READY
        assert adapter.served < 60
        assert "serve returned" in (service.backends.state("scripted").reason or "")
        adapter.times = 0
        await clock.advanced(120.0)
        assert (await service.wait(job.id)).failed_attempts == 0


class Streaming(ScriptedAdapter):
    """The full form: hands what it takes to the test, which emits."""

    async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
        self.emit = emit
        while True:
            for attempt in await ready.take(backend.batch, start=False):
                await self.run(attempt)


async def test_news_of_an_older_attempt_are_refused() -> None:
    """Once a lease is lost, results, failures, progress and starts of that attempt change nothing."""
    clock, adapter = ManualClock(), Streaming()
    async with serving(adapter, clock=clock, lease_s=9.0) as service:
        job = await submit(service)
        await adapter.until_seen(1)
        old = adapter.seen[0]
        assert await adapter.emit.started([old]) == [old]
        adapter.vouching = False
        await clock.advanced(15.0)
        await adapter.until_seen(2)
        adapter.vouching = True
        new = adapter.seen[1]
        assert (old.number, new.number) == (1, 2)
        assert await adapter.emit.started([new]) == [new]
        before = service.last_cursor()
        assert await adapter.emit.started([old]) == []
        await adapter.emit.progress(old, 0.5)
        await adapter.emit.finished([(old, zeros(old))])
        await adapter.emit.finished([(old, WorkerLost("late"))])
        assert service.last_cursor() == before
        await adapter.emit.progress(new, 0.5)
        await adapter.emit.finished([(new, zeros(new)), (new, zeros(new))])
        await adapter.emit.finished([(new, zeros(new))])
        job = await service.wait(job.id)
        assert (job.status, job.attempt) == (JobStatus.COMPLETED, 2)
        assert (await kinds(service, job)).count(K.JOB_COMPLETED) == 1
        await sound(service)


async def test_a_start_is_told_once_and_never_left_out() -> None:
    """A repeated start changes nothing; a result without a start is recorded with one."""
    adapter = Streaming()
    async with serving(adapter) as service:
        twice, never = await submit(service), await submit(service)
        await adapter.until_seen(2)
        first, second = adapter.seen
        await adapter.emit.started([first])
        assert await adapter.emit.started([first]) == [first]
        await adapter.emit.finished([(first, zeros(first)), (second, zeros(second))])
        for job in (twice, never):
            assert await kinds(service, job) == [K.JOB_SUBMITTED, K.JOB_READY, K.JOB_STARTED, K.JOB_COMPLETED]
        await sound(service)


async def test_what_was_taken_but_not_started_goes_back_uncounted() -> None:
    """A lease that ends before the start puts the job back as it was."""
    clock, adapter = ManualClock(), Streaming()
    adapter.vouching = False
    async with serving(adapter, clock=clock, lease_s=9.0) as service:
        job = await submit(service)
        await adapter.until_seen(1)
        await clock.advanced(15.0)
        await adapter.until_seen(2)
        assert [attempt.number for attempt in adapter.seen] == [1, 1]
        job = await service.get(job.id)
        assert (job.status, job.attempt, job.failed_attempts) == (JobStatus.READY, 0, 0)


async def test_a_cancel_reaches_the_running_attempt() -> None:
    """Cancelling a running job stops its `run`, and a waiting one is never run."""
    adapter = ScriptedAdapter(held=True, concurrency=1)
    async with serving(adapter) as service:
        running, waiting, last = [await submit(service) for _ in range(3)]
        await adapter.until_seen(1)
        await service.cancel([waiting.id, running.id])
        await adapter.until_seen(2)
        assert [attempt.id for attempt in adapter.seen] == [running.id, last.id]
        assert [attempt.id for attempt in adapter.canceled] == [running.id]
        adapter.release()
        assert (await service.wait(last.id)).status is JobStatus.COMPLETED
        assert [attempt.id for attempt in adapter.ended] == [last.id]
        await sound(service)


async def test_draining_waits_for_what_runs_and_hands_out_nothing_more() -> None:
    """At a stop the running attempt may end within the limit; what waits stays ready."""
    clock, adapter = ManualClock(), ScriptedAdapter(held=True, concurrency=1)
    async with serving(adapter, clock=clock, drain_s=60.0) as service:
        running, waiting = await submit(service), await submit(service)
        await adapter.until_seen(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service._dispatcher.drain)
            await turns(10)
            adapter.release()
            await clock.advanced(1.0)
        assert (await service.get(running.id)).status is JobStatus.COMPLETED
        assert (await service.get(waiting.id)).status is JobStatus.READY
        assert len(adapter.seen) == 1


def result(**members: object) -> Result:
    return Result(**{"qubits": 1, "probabilities": {0: 1.0}, **members})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "0",
        result(counts={0: 99}),
        result(counts={0: 101, 1: -1}),
        result(counts={2: 100}),
        result(counts={0: 100.0}),
        result(probabilities={}),
        result(probabilities=None),
        result(probabilities={0: float("nan")}),
        result(probabilities={0: float("inf")}),
        result(probabilities={0: -0.5, 1: 1.5}),
        result(probabilities={0: 0.5, 1: 0.4}),
        result(probabilities={2: 1.0}),
        result(probabilities={-1: 1.0}),
        result(probabilities={"a": 1.0}),
        result(probabilities={0: object()}),
        result(shots=[0] * 99),
        result(shots=[2] * 100),
        result(shots=[-1] * 100),
        result(qubits=-1),
        result(qubits=10**9),
        result(qubits="1"),
        result(execution_ms=-1),
        result(execution_ms=float("nan")),
        result(warnings=[1]),
        result(warnings=("\ud800",)),
    ],
    ids=itertools.count(),
)
async def test_an_invalid_result_fails_its_job_alone(answer: object) -> None:
    """Whatever an adapter answers, its own job fails as InternalError and the line goes on."""
    adapter = ScriptedAdapter(answer=lambda attempt: zeros(attempt) if attempt.job.spec.name == "good" else answer)
    async with serving(adapter) as service:
        bad = await submit(service)
        good = await service.submit(FLIP, backend="scripted", name="good")
        assert (await service.result(good.id)).probabilities == {0: 1.0}
        job = await service.wait(bad.id)
        assert job.outcome.failure is not None
        assert job.outcome.failure.code == "InternalError"
        assert job.failed_attempts == 0
        await sound(service)


@pytest.mark.parametrize(("told", "kept"), [(None, 2_500), (0, 0), (7, 7)], ids=["untold", "none", "told"])
async def test_how_long_a_run_took(told: int | None, kept: int) -> None:
    """Measured from the start of the attempt that ended it, unless the adapter tells; the same wherever it is read."""
    answers = iter([WorkerLost("gone"), result(execution_ms=told)])
    clock, adapter = ManualClock(), ScriptedAdapter(held=True, answer=lambda _: next(answers))
    async with serving(adapter, clock=clock) as service:
        job = await submit(service)
        await adapter.until_seen(1)
        await clock.advanced(1.0)
        adapter.release()
        adapter.hold()
        while len(adapter.seen) < 2:
            await clock.advanced(1.0)
        await clock.advanced(2.5)
        adapter.release()
        job = await service.wait(job.id)
        assert job.outcome.execution_ms == kept
        assert (await service.fetch_result(job.id)).execution_ms == kept
        events = await service.store.events(0, limit=100, kinds=[K.JOB_COMPLETED])
        assert events[-1].data == {"execution_ms": kept}
        dry = await service.submit(FLIP, backend="scripted", dry_run=True)
        assert not (await service.wait(dry.id)).outcome.execution_ms


async def test_a_clock_that_is_set_back_makes_no_run_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time by the wall clock may go backwards; a run then took none."""
    clock, adapter = ManualClock(), ScriptedAdapter(held=True)
    async with serving(adapter, clock=clock) as service:
        job = await submit(service)
        await adapter.until_seen(1)
        earlier = clock.now_ms() - 60_000
        monkeypatch.setattr(clock, "now_ms", lambda: earlier)
        adapter.release()
        assert (await service.wait(job.id)).outcome.execution_ms == 0


async def test_words_of_an_adapter_are_cut_to_what_can_be_stored() -> None:
    """Codes and messages of any type, length and content end as a failure people can read."""
    adapter = ScriptedAdapter(answer=lambda _: ExecutionError(42, "\ud800\0" + "x" * 10**6))  # type: ignore[arg-type]
    async with serving(adapter) as service:
        job = await service.wait((await submit(service)).id)
        assert job.outcome.failure is not None
        assert job.outcome.failure.code == "42"
        assert job.outcome.failure.message.startswith("? xxx")
        assert len(job.outcome.failure.message) == 2_000
        await sound(service)


class Batching(ScriptedAdapter):
    """The batch form; one bad job spoils every batch it is in."""

    def __init__(self, spoil: str) -> None:
        super().__init__(concurrency=1, batch=8)
        self.spoil = spoil

    async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
        self.begun(*attempts)
        await checkpoint()
        answers: list[Result | ExecutionError] = [zeros(attempt) for attempt in attempts]
        if any(attempt.job.spec.name == "bad" for attempt in attempts):
            if self.spoil == "raise":
                raise RuntimeError("one of them is bad")
            return answers[1:] if self.spoil == "short" else answers * 2
        return answers


@pytest.mark.parametrize("spoil", ["raise", "short", "long"])
async def test_a_bad_job_does_not_spoil_its_batch(spoil: str) -> None:
    """A batch that raises, or answers too few or too many, is run one by one; only the bad job fails."""
    adapter = Batching(spoil)
    async with serving(adapter) as service:
        jobs = [await service.submit(FLIP, backend="scripted", name=name) for name in ("a", "bad", "b", "c")]
        ends = [await service.wait(job.id) for job in jobs]
        assert [job.status.value for job in ends] == ["completed", "failed", "completed", "completed"]
        assert {job.attempt for job in ends} == {1}
        await sound(service)


async def test_a_batch_that_hangs_frees_its_lane_once_nobody_wants_it() -> None:
    """A batch goes on while one of its jobs is wanted, and is canceled with the last."""

    class Hanging(Batching):
        async def run_batch(self, attempts: Sequence[Attempt]) -> list[Result | ExecutionError]:
            self.begun(*attempts)
            if len(attempts) > 1:
                await anyio.sleep_forever()
            return [zeros(attempt) for attempt in attempts]

    adapter = Hanging("")
    async with serving(adapter) as service:
        stuck = await service.submit_many([JobRequest(backend="scripted", circuits=(FLIP,))] * 2)
        await adapter.until_seen(2)
        later = await submit(service)
        await service.cancel([stuck[0].id])
        await turns(30)
        assert not (await service.get(later.id)).terminal
        await service.cancel([stuck[1].id])
        assert (await service.wait(later.id)).status is JobStatus.COMPLETED
        await sound(service)


async def test_a_start_and_an_end_that_are_told_at_once() -> None:
    """Neither call waits for the other: the job ends all the same, with one start."""

    class Hasty(ScriptedAdapter):
        async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
            while True:
                attempts = await ready.take(8, start=False)
                async with anyio.create_task_group() as telling:
                    for attempt in attempts:
                        telling.start_soon(emit.started, [attempt])
                        telling.start_soon(emit.finished, [(attempt, zeros(attempt))])
                        telling.start_soon(emit.started, [attempt])

    async with serving(Hasty()) as service:
        for job in [await submit(service) for _ in range(30)]:
            assert (await service.wait(job.id)).status is JobStatus.COMPLETED
            assert await kinds(service, job) == [K.JOB_SUBMITTED, K.JOB_READY, K.JOB_STARTED, K.JOB_COMPLETED]
        await sound(service)


class Gated(MemoryStore):
    """Writes starts when the test lets it."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.may_start = anyio.Event()
        self.written: list[list[str]] = []

    async def apply(self, moves: Sequence[Move]) -> list[bool]:
        if moves[0].kind is K.JOB_STARTED:
            await self.may_start.wait()
        self.written.append([move.kind for move in moves])
        return await super().apply(moves)


async def test_a_start_that_was_not_told_is_written_with_the_end() -> None:
    """One write for both, also of several jobs; a job whose start is being written meanwhile waits for that."""

    class Streaming(ScriptedAdapter):
        async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
            while True:
                attempts = await ready.take(8, start=False)
                await emit.finished([(attempt, zeros(attempt)) for attempt in attempts])
                assert await emit.started(attempts) == []

    clock = ManualClock()
    store = Gated(clock)
    store.may_start.set()
    async with serving(Streaming(), clock=clock, store=store) as service:
        jobs = await service.submit_many([JobRequest(backend="scripted", circuits=(FLIP,))] * 2)
        for job in jobs:
            assert (await service.wait(job.id)).status is JobStatus.COMPLETED
            assert await kinds(service, job) == [K.JOB_SUBMITTED, K.JOB_READY, K.JOB_STARTED, K.JOB_COMPLETED]
        assert store.written == [[K.JOB_STARTED] * 2 + [K.JOB_COMPLETED] * 2]
        await sound(service)


async def test_a_job_is_announced_before_it_is_stored() -> None:
    """Single circuits that can run at once; an adapter that raises harms nothing."""

    class Told(ScriptedAdapter):
        def announced(self, job: Job) -> None:
            heard.append((job.id, len(store.written)))
            raise RuntimeError("mine")

    heard: list[tuple[str, int]] = []
    clock = ManualClock()
    store = Gated(clock)
    async with serving(Told(), clock=clock, store=store) as service:
        job = await submit(service)
        await service.submit([FLIP, FLIP], backend="scripted")
        await service.fleet.pause("scripted")
        await submit(service)
        assert heard == [(job.id, 0)]


async def test_a_lease_does_not_end_while_its_start_is_being_written() -> None:
    """A store that stands still for longer than a lease strands nothing: the start is known before the lease ends."""

    class Streaming(ScriptedAdapter):
        async def serve(self, backend: Capabilities, ready: Ready, emit: Emit) -> None:
            while True:
                self.begun(*await emit.started(await ready.take(1, start=False)))

    clock = ManualClock()
    adapter, store = Streaming(), Gated(clock)
    adapter.vouching = False
    async with serving(adapter, clock=clock, store=store, lease_s=9.0, retry_base_s=0.0) as service:
        job = await submit(service)
        await clock.advanced(60.0)
        assert (await service.get(job.id)).status is JobStatus.READY
        store.may_start.set()
        await clock.advanced(90.0)
        job = await service.get(job.id)
        assert (job.status, job.failed_attempts) == (JobStatus.FAILED, 3)
        await sound(service)
